"""A local cloud of the tests' own, in a temporary folder, with small functions to run in it."""

import json
import os
import subprocess
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pytest
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from imagepipe import localcloud

ACCOUNT, OTHER_ACCOUNT = "111111111111", "222222222222"
REGION = "eu-west-1"
IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/test@sha256:{'0' * 64}"

Found = TypeVar("Found")


@dataclass(frozen=True)
class Cloud:
    """A running local cloud and clients of it."""

    root: Path
    local: localcloud.LocalCloud

    def client(self, service: str, account: str = ACCOUNT, **session: str) -> Any:
        keys = session or {"aws_access_key_id": account, "aws_secret_access_key": "local"}
        signature = "s3v4" if service == "s3" else "v4"
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name=REGION,
            endpoint_url=self.local.endpoint,
            verify=str(self.local.ca_bundle),
            config=Config(retries={"total_max_attempts": 1}, read_timeout=30, signature_version=signature),
            **keys,
        )

    def add_function(self, name: str, handler: str, *statements: dict[str, Any], **settings: Any) -> str:
        """Deploys `<name>.handler` from Python source, with a role of its own; returns the function's ARN."""
        source = self.root / "lambda-image/src"
        source.mkdir(parents=True, exist_ok=True)
        (source / f"{name}.py").write_text(textwrap.dedent(handler))
        role = self.add_role(name, *(statements or [logs_statement(name)]))
        created = self.client("lambda").create_function(
            FunctionName=name,
            Role=role,
            PackageType="Image",
            Code={"ImageUri": IMAGE},
            ImageConfig={"Command": [f"{name}.handler"]},
            **{"Timeout": 10, "MemorySize": 256, **settings},
        )
        return str(created["FunctionArn"])

    def add_role(self, name: str, *statements: dict[str, Any], **trust_members: Any) -> str:
        """A role that Lambda may assume, under a Condition if one is given; returns its ARN."""
        iam = self.client("iam")
        trust = allow("sts:AssumeRole", Principal={"Service": "lambda.amazonaws.com"}, **trust_members)
        trust.pop("Resource")
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(*statements))
        return str(role)

    def invoke(self, name: str, event: Any = None) -> tuple[Any, str | None]:
        """The payload that a function answers with, and its FunctionError."""
        answer = self.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event))
        return json.load(answer["Payload"]), answer.get("FunctionError")

    def log_lines(self, name: str) -> list[str]:
        logs = self.client("logs")
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        return [event["message"] for event in events]


def allow(*actions: str, resource: str | list[str] = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": resource, **more}


def logs_statement(function: str) -> dict[str, Any]:
    """What Lambda needs to write a function's logs, the group included."""
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{function}"
    return allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", resource=[group, f"{group}:*"])


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def eventually(look: Callable[[], Found], seconds: float = 20) -> Found:
    """The first true value that `look` returns, or a failure after a bounded time."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"nothing after {seconds} s; last seen: {seen!r}"
        time.sleep(0.1)
    return seen


def add_http_api(cloud: Cloud, function_arn: str, routes: dict[str, str]) -> str:
    """An HTTP API with one integration; returns the path form of its URL, which needs no name resolution."""
    gateway = cloud.client("apigatewayv2")
    api = gateway.create_api(Name=uuid.uuid4().hex, ProtocolType="HTTP")["ApiId"]
    integration = gateway.create_integration(
        ApiId=api,
        IntegrationType="AWS_PROXY",
        PayloadFormatVersion="2.0",
        IntegrationUri=f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations",
    )["IntegrationId"]
    for route, authorization in routes.items():
        gateway.create_route(
            ApiId=api, RouteKey=route, AuthorizationType=authorization, Target=f"integrations/{integration}"
        )
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    return f"{cloud.local.endpoint}/_aws/execute-api/{api}/$default"


def call(
    cloud: Cloud, method: str, url: str, credentials: Any = None, host: str | None = None
) -> urllib3.BaseHTTPResponse:
    """An HTTP request, signed if credentials are given; `host` stands in for name resolution."""
    headers = {"Host": host or urlsplit(url).netloc}
    if credentials is not None:
        request = AWSRequest(method, url, headers=headers)
        SigV4Auth(credentials, "execute-api", REGION).add_auth(request)
        headers = dict(request.headers)
    with urllib3.PoolManager(ca_certs=str(cloud.local.ca_bundle)) as http:
        return http.request(method, url, headers=headers, redirect=False, retries=False)


def write_configuration(resources: str, folder: Path) -> None:
    """Write a root module with these resources."""
    header = """
        terraform {
          required_providers {
            aws = { source = "hashicorp/aws", version = "~> 5.100" }
          }
        }
        """
    folder.mkdir()
    (folder / "main.tf").write_text(textwrap.dedent(header) + resources)


def terraform(cloud: Cloud, folder: Path, *arguments: str) -> int:
    """Run Terraform in the local cloud's account, and return its exit code; pytest shows the output of a failure."""
    environment = {**os.environ, **cloud.local.environment(ACCOUNT, REGION)}
    command = ["terraform", *arguments, "-no-color", "-input=false"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    print(done.stdout, done.stderr)
    return done.returncode


def sum_of(cloud: Cloud, namespace: str, metric: str, **dimensions: str) -> float:
    """The sum of a metric under exactly these dimensions, of the last minutes."""
    now = datetime.now(UTC)
    metric_data = cloud.client("cloudwatch").get_metric_data(
        StartTime=now - timedelta(minutes=10),
        EndTime=now + timedelta(minutes=1),
        MetricDataQueries=[
            {
                "Id": "m",
                "MetricStat": {
                    "Metric": {
                        "Namespace": namespace,
                        "MetricName": metric,
                        "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
                    },
                    "Period": 60,
                    "Stat": "Sum",
                },
            }
        ],
    )
    return float(sum(metric_data["MetricDataResults"][0]["Values"]))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    root = tmp_path_factory.mktemp("clone")
    yield Cloud(root, localcloud.up(root))
    localcloud.down(root)
