"""A local cloud with the pipeline in it: what the modules plan, made by boto3 in seconds instead of minutes."""

import asyncio
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import tftest
from botocore.config import Config

from chaos.proxy import Proxy
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import addresses, certificate, server
from imagepipe.localcloud.folder import Folder
from imagepipe.localcloud.function import Emulator
from imagepipe.localcloud.host import FunctionHost
from imagepipe.localcloud.runtime_api import listen
from modules.harness import PROVIDER

ACCOUNT, REGION, PREFIX = "111111111111", "eu-west-1", "image-pipeline-chaos"
NAMES = {"account_id": ACCOUNT, "name_prefix": PREFIX, "region": REGION}
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/image-pipeline/processor@sha256:{'0' * 64}"

#: The functions' roles, as modules/ci-access makes them, and who may take them.
ROLES = {name: f"arn:aws:iam::{ACCOUNT}:role/{PREFIX}-{name}" for name in ("announcer", "api", "processor")}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "sts:AssumeRole",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
        }
    ],
}

#: Tiny, so that what is tested is everything but the decoding.
_FORMATS = [{"format": "webp"}, {"format": "jpeg"}]


@dataclass(frozen=True)
class Release:
    """What is deployed of the processor: records name the image that judged them, by its digest."""

    image: str
    widths: tuple[int, int] = (16, 18)
    accepts: tuple[str, ...] = ("gif", "heic", "jpeg", "png")

    @property
    def recipe(self) -> dict[str, Any]:
        return {"variants": [{"width": width, "formats": _FORMATS} for width in self.widths]}

    @property
    def variables(self) -> dict[str, str]:
        limits = json.dumps({"formats": self.accepts})
        return {"IMAGE_DIGEST": self.image, "RECIPE": json.dumps(self.recipe), "LIMITS": limits}


#: The second makes something else of an image, the third refuses what the others accept.
RELEASES = (
    Release("sha256:" + "0" * 64),
    Release("sha256:" + "1" * 64, widths=(16, 20)),
    Release("sha256:" + "2" * 64, accepts=("heic", "jpeg", "png")),
)
RECIPE = RELEASES[0].recipe

#: Shorter than some batches take here: then a message is worked on twice at the same time, which is one more fault.
VISIBILITY_SECONDS = 6
MOST_DELIVERIES = 8


class ChaosCloud:
    """The emulator as a process, the function host and the fault-injecting proxy in a thread of this one."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.folder = Folder(root)
        self.folder.create()
        self.source = self.folder.function_source
        shutil.copytree(ROOT / "lambda-image/src", self.source, ignore=shutil.ignore_patterns("__pycache__"))
        certificate.ensure(self.folder.certificate, self.folder.private_key)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_on_exception)
        threading.Thread(target=self._loop.run_forever, name="chaos", daemon=True).start()
        self._stop = asyncio.Event()
        port = addresses.server_port(self.folder)
        self.endpoint = f"https://127.0.0.1:{port}"
        host_socket, proxy_socket = addresses.listening_socket(), addresses.listening_socket()
        proxy_url = f"https://127.0.0.1:{proxy_socket.getsockname()[1]}"
        self.host = FunctionHost(Emulator(proxy_url, self.folder.certificate), self.folder)
        self.proxy = Proxy(port, self.folder.certificate, self.folder.private_key, self.host)
        self._server = self._start_server(port, host_socket)
        self._submit(self.proxy.serve(proxy_socket))
        self._submit(listen(self.host, host_socket, self._stop))
        self._session = boto3.Session(ACCOUNT, "local", region_name=REGION)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    def _start_server(self, port: int, host: socket.socket) -> "subprocess.Popen[bytes]":
        url = f"http://127.0.0.1:{host.getsockname()[1]}"
        environment = {**server.environment(self.folder, port, url), "PERSIST_STATE": "0", "S3_PERSIST": "0"}
        with self.folder.process_log("server").open("w") as log:
            process = subprocess.Popen(server.command(), env=environment, stdout=log, stderr=log)
        while not server.is_healthy(port, self.folder.certificate):
            if process.poll() is not None:
                raise RuntimeError(f"the emulator did not start: {self.folder.process_log('server')}")
            threading.Event().wait(0.1)
        return process

    def _submit(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def client(self, service: str) -> Any:
        """A client of the account's root, straight to the emulator."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._session.client(
                    service,  # type: ignore[call-overload]
                    endpoint_url=self.endpoint,
                    verify=str(self.folder.certificate),
                    config=Config(
                        max_pool_connections=32, read_timeout=60, signature_version="s3v4" if service == "s3" else "v4"
                    ),
                )
            return self._clients[service]

    def restart_functions(self) -> None:
        """Ends every function process: the next invocation starts from what the source folder holds then."""
        self._submit(self.host.kill()).result(60)
        self.host._pools.clear()

    def close(self) -> None:
        self._submit(self.host.kill()).result(60)
        self._loop.call_soon_threadsafe(self._stop.set)
        self._server.terminate()
        self._server.wait(30)


def _on_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Connections of processes that are killed end in all sorts of ways; everything else is news."""
    if not isinstance(context.get("exception"), asyncio.CancelledError | ConnectionError):
        loop.default_exception_handler(context)


def _plan(module: str, inputs: dict[str, Any], workspace: Path) -> dict[str, Any]:
    """Plan a copy of a module offline; return the values of its resources by address."""
    copy = workspace / module
    shutil.copytree(ROOT / "modules" / module, copy, ignore=shutil.ignore_patterns(".terraform*", "tests", "examples"))
    (copy / "provider.tf.json").write_text(json.dumps({"provider": PROVIDER}))
    (copy / "inputs.tfvars.json").write_text(json.dumps(inputs))
    subprocess.run(["terraform", "init", "-backend=false", "-no-color"], cwd=copy, check=True, capture_output=True)
    plan = tftest.TerraformTest(str(copy)).plan(output=True, refresh=False, tf_var_file="inputs.tfvars.json")
    return {address: resource["values"] for address, resource in plan.resources.items()}


class Deployment:
    """The pipeline in a chaos cloud: storage and compute as planned, the bucket tells the relay and not the queue."""

    def __init__(self, cloud: ChaosCloud, workspace: Path, *, visibility: int = VISIBILITY_SECONDS) -> None:
        self.cloud = cloud
        self._workspace = workspace
        self._storage = _plan("storage", {**NAMES, "force_destroy": True}, workspace)
        self.visibility = visibility
        #: The last write of the table's stream that an oracle has seen.
        self.judged: str | None = None
        self.uploads, self.processed = (self._make_bucket(purpose) for purpose in ("uploads", "processed"))
        self.table = self._make_table()
        self.dead_letters = self._make_queue("aws_sqs_queue.dead_letters")
        self.queue = self._make_queue("aws_sqs_queue.uploads", feeds=True)
        self.backfill = self._make_queue("aws_sqs_queue.backfill", feeds=True)
        self.s3_events = self._make_plain_queue("s3-events")
        self.announced = self._make_plain_queue("announced")
        self._tell()
        self.compute = self._plan_compute()
        self.policies = {name: str(self.compute[f'aws_iam_role_policy.function["{name}"]']["policy"]) for name in ROLES}
        self._make_functions()

    # --- storage ------------------------------------------------------------------------------------------------------

    def _make_bucket(self, purpose: str) -> str:
        s3, name = self.cloud.client("s3"), str(self._storage[f'aws_s3_bucket.images["{purpose}"]']["bucket"])
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        s3.put_bucket_policy(Bucket=name, Policy=self._storage[f'aws_s3_bucket_policy.images["{purpose}"]']["policy"])
        return name

    def _make_table(self) -> str:
        planned = self._storage["aws_dynamodb_table.images"]
        key = [{"AttributeName": planned["hash_key"], "KeyType": "HASH"}]
        indexes = [
            {
                "IndexName": index["name"],
                "KeySchema": [
                    {"AttributeName": index["hash_key"], "KeyType": "HASH"},
                    {"AttributeName": index["range_key"], "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": index["projection_type"]},
            }
            for index in planned["global_secondary_index"]
        ]
        made = self.cloud.client("dynamodb").create_table(
            TableName=planned["name"],
            BillingMode=planned["billing_mode"],
            KeySchema=key,
            AttributeDefinitions=[
                {"AttributeName": entry["name"], "AttributeType": entry["type"]} for entry in planned["attribute"]
            ],
            GlobalSecondaryIndexes=indexes,
            StreamSpecification={"StreamEnabled": True, "StreamViewType": planned["stream_view_type"]},
        )
        self.stream = made["TableDescription"]["LatestStreamArn"]
        return str(planned["name"])

    def _make_queue(self, address: str, *, feeds: bool = False) -> str:
        planned = self._storage[address]
        attributes = {"Policy": planned["policy"], "VisibilityTimeout": str(self.visibility)}
        if feeds:
            redrive = json.loads(planned["redrive_policy"]) | {"maxReceiveCount": MOST_DELIVERIES}
            attributes["RedrivePolicy"] = json.dumps(redrive)
        return str(self.cloud.client("sqs").create_queue(QueueName=planned["name"], Attributes=attributes)["QueueUrl"])

    def hide_messages(self, seconds: int) -> None:
        """Change how long a message of an upload that is worked on stays hidden."""
        attributes = {"VisibilityTimeout": str(seconds)}
        self.cloud.client("sqs").set_queue_attributes(QueueUrl=self.queue, Attributes=attributes)

    def _make_plain_queue(self, name: str) -> str:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": ["events.amazonaws.com", "s3.amazonaws.com"]},
            "Action": "sqs:SendMessage",
            "Resource": self.arn(f"/{name}"),
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        attributes = {"Policy": policy, "VisibilityTimeout": "30"}
        return str(self.cloud.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def wipe(self) -> None:
        """Remove everything that earlier runs left, without events: the same keys mean new images from now on."""
        client = self.cloud.client
        client("s3").put_bucket_notification_configuration(Bucket=self.uploads, NotificationConfiguration={})
        for bucket in (self.uploads, self.processed):
            for page in client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket):
                versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
                objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in versions]
                # XML, in which several are named, has no control characters.
                if named := [entry for entry in objects if entry["Key"].isprintable()]:
                    client("s3").delete_objects(Bucket=bucket, Delete={"Objects": named, "Quiet": True})
                for entry in objects:
                    if not entry["Key"].isprintable():
                        client("s3").delete_object(Bucket=bucket, **entry)
        names = {"TableName": self.table, "ProjectionExpression": "image_id"}
        for page in client("dynamodb").get_paginator("scan").paginate(**names):
            for key in page["Items"]:
                client("dynamodb").delete_item(TableName=self.table, Key=key)
        for url in (self.s3_events, self.queue, self.backfill, self.dead_letters, self.announced):
            client("sqs").purge_queue(QueueUrl=url)
        self._tell()

    def arn(self, queue: str) -> str:
        return f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue.rpartition('/')[2]}"

    def _tell(self) -> None:
        planned = self._storage["aws_s3_bucket_notification.uploads"]["queue"][0]
        self.cloud.client("s3").put_bucket_notification_configuration(
            Bucket=self.uploads,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": self.arn(self.s3_events), "Events": planned["events"]}]
            },
        )

    # --- compute ------------------------------------------------------------------------------------------------------

    def _plan_compute(self) -> dict[str, Any]:
        def bucket(name: str) -> dict[str, str]:
            return {"arn": f"arn:aws:s3:::{name}", "name": name}

        storage = {
            "backfill_queue": {"arn": self.arn(self.backfill), "url": self.backfill},
            "processed_bucket": bucket(self.processed),
            "queue": {
                "arn": self.arn(self.queue),
                "max_receive_count": MOST_DELIVERIES,
                "url": self.queue,
                "visibility_timeout_seconds": 360,
            },
            "table": {
                "arn": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{self.table}",
                "indexes": ["by-status", "newest"],
                "name": self.table,
                "stream_arn": self.stream,
            },
            "upload_bucket": bucket(self.uploads),
        }
        processor = {"batch_size": 5, "maximum_concurrency": 6, "recipe": RECIPE}
        inputs = {
            **NAMES,
            "architecture": "x86_64",
            "image_uri": IMAGE,
            "log_level": "WARNING",
            "log_retention_days": 1,
            "processor": processor,
            "role_arns": ROLES,
            "storage": storage,
        }
        return _plan("compute", inputs, self._workspace)

    def _make_functions(self) -> None:
        lambdas, events = self.cloud.client("lambda"), self.cloud.client("events")
        bus = self.compute["aws_cloudwatch_event_bus.images"]["name"]
        events.create_event_bus(Name=bus)
        pattern = json.dumps({"source": [{"prefix": ""}]})
        events.put_rule(Name="all", EventBusName=bus, EventPattern=pattern)
        events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "1", "Arn": self.arn(self.announced)}])
        for name, policy in self.policies.items():
            self._make_role(name, policy)
            planned = self.compute[f'aws_lambda_function.function["{name}"]']
            variables = dict(planned["environment"][0]["variables"] or {})
            if name == "announcer":
                variables["EVENT_BUS"] = bus
            if name == "processor":
                variables["VISIBILITY_TIMEOUT_SECONDS"] = str(self.visibility)
                self._variables = variables = {**variables, **RELEASES[0].variables}
            lambdas.create_function(
                FunctionName=planned["function_name"],
                Role=ROLES[name],
                PackageType="Image",
                Code={"ImageUri": IMAGE},
                ImageConfig={"Command": planned["image_config"][0]["command"]},
                Timeout=planned["timeout"],
                MemorySize=planned["memory_size"],
                Environment={"Variables": variables},
            )
        for address, planned in self.compute.items():
            if address.startswith("aws_lambda_event_source_mapping.queue"):
                lambdas.create_event_source_mapping(
                    EventSourceArn=planned["event_source_arn"],
                    FunctionName=f"{PREFIX}-processor",
                    BatchSize=planned["batch_size"],
                    FunctionResponseTypes=planned["function_response_types"],
                    ScalingConfig={"MaximumConcurrency": planned["scaling_config"][0]["maximum_concurrency"]},
                )
        records = self.compute["aws_lambda_event_source_mapping.records"]
        lambdas.create_event_source_mapping(
            EventSourceArn=self.stream,
            FunctionName=f"{PREFIX}-announcer",
            BatchSize=records["batch_size"],
            StartingPosition=records["starting_position"],
            FilterCriteria={
                "Filters": [{"Pattern": entry["pattern"]} for entry in records["filter_criteria"][0]["filter"]]
            },
        )

    def release(self, release: Release) -> None:
        """Deploy another release of the processor. The one before ends the work that it has begun."""
        self.cloud.client("lambda").update_function_configuration(
            FunctionName=f"{PREFIX}-processor", Environment={"Variables": {**self._variables, **release.variables}}
        )

    def _make_role(self, name: str, policy: str) -> None:
        self.cloud.client("iam").create_role(RoleName=f"{PREFIX}-{name}", AssumeRolePolicyDocument=json.dumps(TRUST))
        self.set_policy(name, policy)

    def set_policy(self, name: str, policy: str) -> None:
        self.cloud.client("iam").put_role_policy(
            RoleName=f"{PREFIX}-{name}", PolicyName="access", PolicyDocument=policy
        )
