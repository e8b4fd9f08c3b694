"""Where a deployed environment keeps everything: its buckets, queues and table, with clients of them."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import Any, Self

from botocore.exceptions import ClientError

from image_processor.events import image_id
from image_processor.recipe import Limits, Recipe, verdict_version
from imagepipe.errors import PipelineError
from imagepipe.live.environments import SHARED
from imagepipe.operations.inventory import StoredObject
from imagepipe.operations.records import Records
from imagepipe.operations.sweep import GRACE
from imagepipe.terragrunt import state
from imagepipe.terragrunt.target import Target


def server_time(answer: dict[str, Any]) -> datetime:
    """Return when AWS sent an answer, by AWS's clock, to the second: the header Date of every answer (RFC 9110)."""
    return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])


@dataclass(frozen=True)
class Queue:
    """One queue and its attributes."""

    sqs: Any
    url: str

    def attributes(self, *names: str) -> dict[str, str]:
        """Read attributes of the queue."""
        return dict(self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))["Attributes"])

    def visibility_timeout(self) -> timedelta:
        """Return how long a received message stays hidden."""
        name = "VisibilityTimeout"
        return timedelta(seconds=int(self.attributes(name)[name]))

    def backlog(self) -> int:
        """Return about how many messages wait to be received, without those being worked on."""
        name = "ApproximateNumberOfMessages"
        return int(self.attributes(name)[name])


@dataclass(frozen=True)
class Workers:
    """The functions that work on a queue."""

    concurrency: int  # functions at a time
    memory_mb: int  # of each function
    architecture: str
    recipe: str  # version of the deployed recipe
    verdict: str  # version of recipe, limits and container image together: the same gives every image the same result


class Resources:
    """The resources of one environment, from the outputs of its unit `storage`.

    Raises:
        PipelineError: an output is missing.
    """

    def __init__(self, target: Target, storage: dict[str, Any]) -> None:
        self.target, self._storage = target, storage
        wanted = ("queue", "backfill_queue", "dead_letter_queue", "table", "upload_bucket", "processed_bucket")
        if missing := [output for output in wanted if output not in storage]:
            raise PipelineError(
                f"{target.environment.name} is not completely deployed, or an older release deployed it "
                f"(no {', '.join(missing)}): run {self.command('apply')}"
            )

    @classmethod
    def of(cls, target: Target) -> Self:
        """Read the outputs of an environment.

        Raises:
            PipelineError: the environment holds no images, or is not completely deployed.
        """
        if target.environment.name == SHARED:
            raise PipelineError("shared holds no images: set ENV to another environment, such as dev")
        return cls(target, state.outputs(target).get("storage", {}))

    @property
    def upload_bucket(self) -> str:
        """Return the name of the bucket that images are uploaded to."""
        return str(self._storage["upload_bucket"]["name"])

    @property
    def processed_bucket(self) -> str:
        """Return the name of the bucket that holds the variants."""
        return str(self._storage["processed_bucket"]["name"])

    def object(self, key: str) -> StoredObject | None:
        """Return the current object under a key of the upload bucket."""
        try:
            head = self.s3.head_object(Bucket=self.upload_bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return StoredObject(
            image_id(self.upload_bucket, key), key, head.get("VersionId"), head["ETag"].strip('"'),
            head["ContentLength"], head["LastModified"],
        )  # fmt: skip

    def now(self) -> datetime:
        """Return the time by S3's clock, the one that objects are dated by. The machine's own may be wrong."""
        return server_time(self.s3.head_bucket(Bucket=self.upload_bucket))

    @cached_property
    def s3(self) -> Any:
        """Return a client of S3."""
        return self.target.client("s3")

    @cached_property
    def sqs(self) -> Any:
        """Return a client of SQS."""
        return self.target.client("sqs")

    @cached_property
    def uploads(self) -> Queue:
        """Return the queue that S3 sends events to."""
        return Queue(self.sqs, self._storage["queue"]["url"])

    @cached_property
    def backfill(self) -> Queue:
        """Return the queue of images to process again."""
        return Queue(self.sqs, self._storage["backfill_queue"]["url"])

    @cached_property
    def dead_letters(self) -> Queue:
        """Return the dead-letter queue of both."""
        return Queue(self.sqs, self._storage["dead_letter_queue"]["url"])

    @cached_property
    def records(self) -> Records:
        """Return the table of image records."""
        return Records(self.target.client("dynamodb"), self._storage["table"]["name"])

    def longest_work(self) -> timedelta:
        """Return the longest time that processing one message can take.

        That is the number of tries times the visibility timeout, and at least as long as a function may still write.
        """
        attributes = self.uploads.attributes("RedrivePolicy", "VisibilityTimeout")
        tries = int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])
        return max(GRACE, timedelta(seconds=tries * int(attributes["VisibilityTimeout"])))

    def replaced_variants_kept_days(self) -> int:
        """Return the days for which S3 keeps replaced or deleted variants as old versions; 0 without such a rule."""
        rules = self.s3.get_bucket_lifecycle_configuration(Bucket=self.processed_bucket)["Rules"]
        days = (rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", 0) for rule in rules)
        return max(days, default=0)

    @cached_property
    def workers(self) -> Workers:
        """Return the functions that work on the backfill queue.

        Raises:
            PipelineError: no function is attached to the queue.
        """
        functions = self.target.client("lambda")
        arn = self._storage["backfill_queue"]["arn"]
        mappings = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
        if not mappings:
            raise PipelineError(f"no function works on the backfill queue: run {self.command('apply')}")
        function = functions.get_function_configuration(FunctionName=mappings[0]["FunctionArn"])
        variables, memory_mb = function.get("Environment", {}).get("Variables", {}), function["MemorySize"]
        recipe, limits = Recipe.parse(variables.get("RECIPE")), Limits.parse(variables.get("LIMITS"))
        return Workers(
            concurrency=mappings[0].get("ScalingConfig", {}).get("MaximumConcurrency", 1000),
            memory_mb=memory_mb,
            architecture=function.get("Architectures", ["x86_64"])[0],
            recipe=recipe.version,
            verdict=verdict_version(recipe, limits.within(memory_mb), variables.get("IMAGE_DIGEST", "")),
        )

    def command(self, name: str, *settings: str) -> str:
        """Return a command line of make for this environment in this cloud."""
        return self.target.command(name, *settings)
