"""Where everything of a deployed environment is: its buckets, queues and table, with clients of them."""

import json
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, Self

from botocore.exceptions import ClientError

from image_processor.events import image_id
from image_processor.recipe import Limits, Recipe, verdict_version
from imagepipe.errors import PipelineError
from imagepipe.live.environments import SHARED
from imagepipe.operations.inventory import Object
from imagepipe.operations.records import Records
from imagepipe.operations.sweep import GRACE
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Cloud, Target


@dataclass(frozen=True)
class Queue:
    """One queue, and what its attributes say."""

    sqs: Any
    url: str

    def attributes(self, *names: str) -> dict[str, str]:
        return dict(self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names))["Attributes"])

    def visibility_timeout(self) -> timedelta:
        name = "VisibilityTimeout"
        return timedelta(seconds=int(self.attributes(name)[name]))

    def waiting(self) -> int:
        """About how many messages wait to be received; those being worked on are not counted."""
        name = "ApproximateNumberOfMessages"
        return int(self.attributes(name)[name])


@dataclass(frozen=True)
class Workers:
    """What works a queue off: how many functions at a time, with how much memory each, in MB."""

    concurrency: int
    memory_mb: int
    architecture: str
    recipe: str  # version that they make
    verdict: str  # version of all that decides what becomes of an image: recipe, limits and container image


class Deployment:
    """One environment, from what its unit `storage` puts out."""

    def __init__(self, target: Target, storage: dict[str, Any]) -> None:
        self.target, self._storage = target, storage
        wanted = ("queue", "backfill_queue", "dead_letter_queue", "table", "upload_bucket", "processed_bucket")
        if missing := [each for each in wanted if each not in storage]:
            raise PipelineError(
                f"{target.environment.name} is only partly deployed, or by an older release "
                f"(no {', '.join(missing)}): {self.command('apply')}"
            )

    @classmethod
    def of(cls, target: Target) -> Self:
        """Raises PipelineError where the environment is not, or only partly, deployed."""
        if target.environment.name == SHARED:
            raise PipelineError("shared holds no images: ENV is one of those that do")
        return cls(target, terragrunt.outputs(target).get("storage", {}))

    @property
    def upload_bucket(self) -> str:
        return str(self._storage["upload_bucket"]["name"])

    @property
    def processed_bucket(self) -> str:
        return str(self._storage["processed_bucket"]["name"])

    def object(self, key: str) -> Object | None:
        """What lies in the upload bucket under a key now."""
        try:
            head = self.s3.head_object(Bucket=self.upload_bucket, Key=key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                return None
            raise
        return Object(
            image_id(self.upload_bucket, key), key, head.get("VersionId"), head["ETag"].strip('"'),
            head["ContentLength"], head["LastModified"],
        )  # fmt: skip

    @cached_property
    def s3(self) -> Any:
        return self.target.client("s3")

    @cached_property
    def sqs(self) -> Any:
        return self.target.client("sqs")

    @cached_property
    def uploads(self) -> Queue:
        return Queue(self.sqs, self._storage["queue"]["url"])

    @cached_property
    def backfill(self) -> Queue:
        return Queue(self.sqs, self._storage["backfill_queue"]["url"])

    @cached_property
    def dead_letters(self) -> Queue:
        return Queue(self.sqs, self._storage["dead_letter_queue"]["url"])

    @cached_property
    def records(self) -> Records:
        return Records(self.target.client("dynamodb"), self._storage["table"]["name"])

    def longest_work(self) -> timedelta:
        """How long a message can be under work, as often as it is tried, hidden for a while each time; and never less
        than a function may still be writing.
        """
        found = self.uploads.attributes("RedrivePolicy", "VisibilityTimeout")
        tries = int(json.loads(found["RedrivePolicy"])["maxReceiveCount"])
        return max(GRACE, timedelta(seconds=tries * int(found["VisibilityTimeout"])))

    def replaced_variants_kept_days(self) -> int:
        """How long S3 keeps variants that were replaced or deleted, as old versions; 0 where no rule says so."""
        rules = self.s3.get_bucket_lifecycle_configuration(Bucket=self.processed_bucket)["Rules"]
        days = (rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays", 0) for rule in rules)
        return max(days, default=0)

    @cached_property
    def workers(self) -> Workers:
        """What works the backfill queue off.

        Raises:
            PipelineError: nothing is attached to the queue.
        """
        functions = self.target.client("lambda")
        arn = self._storage["backfill_queue"]["arn"]
        mappings = functions.list_event_source_mappings(EventSourceArn=arn)["EventSourceMappings"]
        if not mappings:
            raise PipelineError(f"no function works the backfill queue off: {self.command('apply')}")
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
        """The line to type next, for this environment in this cloud."""
        cloud = ["CLOUD=aws"] if self.target.cloud is Cloud.AWS else []
        return " ".join(["make", name, f"ENV={self.target.environment.name}", *cloud, *settings])
