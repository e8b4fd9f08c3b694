"""Each mend of the emulator, tried against the emulator as it comes and as we run it.

A test that fails with "upstream does this now" is good news: the mend that it names may go.
"""

import asyncio.constants
import importlib.util
import inspect
import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import hypercorn.asyncio.run
import pytest
from botocore.exceptions import ClientError

from imagepipe.localcloud import LocalCloud, addresses, certificate, compat, server
from imagepipe.localcloud.folder import Folder

from .conftest import (
    ACCOUNT,
    IMAGE,
    OTHER_ACCOUNT,
    REGION,
    Cloud,
    add_http_api,
    allow,
    call,
    eventually,
    logs_statement,
    policy,
    sum_of,
    terraform,
    write_configuration,
)

STRANGE_KEYS = {"a b+c.jpg", "ümläut/日本.png", "quote'\"&<>.png", "percent%20.jpg", "two\r\nlines.png"}
#: Of keys that XML cannot hold.
CONTROL_KEY = "control\x01\x1b[31m.png"

ECHO = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'here'}"


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The emulator without our mends, everything else the same; functions have nowhere to run."""
    folder = Folder(tmp_path_factory.mktemp("upstream"))
    folder.create()
    certificate.ensure(folder.certificate, folder.private_key)
    port = addresses.server_port(folder)
    command = [sys.executable, "-c", "from ministack.app import main; main()"]
    with folder.process_log("server").open("w") as log:
        process = subprocess.Popen(command, env=server.environment(folder, port, ""), stdout=log, stderr=log)
    try:
        eventually(lambda: server.is_healthy(port, folder.certificate))
        yield Cloud(folder.root, LocalCloud(f"https://127.0.0.1:{port}", folder.certificate))
    finally:
        process.terminate()
        process.wait(20)


def upstream_does_it_now(mend: str) -> str:
    return f"upstream does this now: compat.{mend} may go"


def test_every_mend_has_a_report_and_a_test_that_says_when_it_may_go() -> None:
    mends = re.findall(r"^    (\w+)\(", inspect.getsource(compat.mend), re.MULTILINE)
    tested = set(re.findall(r"upstream_does_it_now\(\s*\"(\w+)\"", Path(__file__).read_text()))
    assert mends
    for name in mends:
        report = inspect.getdoc(getattr(compat, name)) or ""
        assert "\n\nUpstream " in report, f"{name}: the docstring does not say what upstream does"
        assert name in tested, f"{name}: no test tries upstream"


def test_run_image_functions_in(upstream: Cloud, cloud: Cloud) -> None:
    for emulator in (upstream, cloud):
        emulator.add_function("unnamed", ECHO)
    assert upstream.invoke("unnamed")[1] is not None, upstream_does_it_now("run_image_functions_in")
    assert cloud.invoke("unnamed")[1] is None


def test_run_image_functions_in_leaves_logs_to_the_role(upstream: Cloud, cloud: Cloud) -> None:
    for emulator in (upstream, cloud):
        emulator.add_function("quiet", ECHO, {**logs_statement("quiet"), "Effect": "Deny"})
        emulator.invoke("quiet")
    assert "/aws/lambda/quiet" in _log_groups(upstream), upstream_does_it_now("run_image_functions_in")
    assert "/aws/lambda/quiet" not in _log_groups(cloud)


def test_share_calls_by_weight(upstream: Cloud, cloud: Cloud) -> None:
    """Upstream needs no place to run functions for this: it names the version that it has called."""
    which = "def handler(event, context):\n    return {'statusCode': 200, 'body': context.function_version}"
    called = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        old, new = _two_versions(emulator, "weighted", which)
        functions = emulator.client("lambda")
        answers = [functions.invoke(FunctionName="weighted", Qualifier="live") for _ in range(40)]
        called[name] = {answer["ExecutedVersion"] for answer in answers}
    assert called["upstream"] == {old}, upstream_does_it_now("share_calls_by_weight")
    assert called["ours"] == {old, new}
    assert all(json.load(answer["Payload"])["body"] == answer["ExecutedVersion"] for answer in answers)
    assert functions.get_function(FunctionName="weighted", Qualifier="live")["Configuration"]["Version"] == old

    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:weighted:live"
    address = add_http_api(cloud, arn, {"GET /version": "NONE"}) + "/version"
    assert {call(cloud, "GET", address).data.decode() for _ in range(40)} == {old, new}

    functions.update_alias(FunctionName="weighted", Name="live", RoutingConfig={"AdditionalVersionWeights": {}})
    assert {functions.invoke(FunctionName="weighted", Qualifier="live")["ExecutedVersion"] for _ in range(10)} == {old}


def test_count_calls_of_each_version(upstream: Cloud, cloud: Cloud) -> None:
    """An alarm of all calls tells nothing of the version that a tenth of them meets."""
    fails = "def handler(event, context):\n    return 1 / (event.get('fine', 0) or context.function_version == '1')"
    counted = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        old, new = _two_versions(emulator, "compared", fails)
        functions = emulator.client("lambda")
        calls = [functions.invoke(FunctionName="compared", Qualifier="live", Payload=b"{}") for _ in range(40)]
        ran = {version: sum(call["ExecutedVersion"] == version for call in calls) for version in (old, new)}
        live = {"FunctionName": "compared", "Resource": "compared:live"}
        counted[name] = {
            version: [sum_of(emulator, "AWS/Lambda", metric, **live, ExecutedVersion=version) for metric in CALLS]
            for version in (old, new)
        }
    assert counted["upstream"] == {old: [0, 0], new: [0, 0]}, upstream_does_it_now("count_calls_of_each_version")
    assert counted["ours"] == {old: [ran[old], 0], new: [ran[new], ran[new]]}
    assert sum_of(cloud, "AWS/Lambda", "Invocations", **live) == 40

    functions.invoke(FunctionName="compared", Qualifier=new, Payload=b'{"fine": 1}')
    assert sum_of(cloud, "AWS/Lambda", "Invocations", FunctionName="compared", Resource=f"compared:{new}") == 1
    assert counted["ours"][new][0] == sum_of(cloud, "AWS/Lambda", "Invocations", **live, ExecutedVersion=new)

    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:compared:live"
    address = add_http_api(cloud, arn, {"GET /fails": "NONE"}) + "/fails"
    for _ in range(20):
        call(cloud, "GET", address)
    both = [sum_of(cloud, "AWS/Lambda", "Invocations", **live, ExecutedVersion=version) for version in (old, new)]
    assert sum(both) == 60


#: Metrics of a call, as they are compared here.
CALLS = ("Invocations", "Errors")


def test_share_calls_by_weight_of_queues_too(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName="weighted")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:weighted"
    which = "def handler(event, context):\n    print('ran', context.function_version, flush=True)"
    both = _two_versions(cloud, "queued", which)
    mapping = {"FunctionName": "queued:live", "EventSourceArn": arn, "BatchSize": 1}
    cloud.client("lambda").create_event_source_mapping(**mapping)
    for number in range(40):
        sqs.send_message(QueueUrl=url, MessageBody=str(number))

    def ran() -> set[str]:
        return {line.split()[-1] for line in cloud.log_lines("queued") if line.startswith("ran ")}

    eventually(lambda: "/aws/lambda/queued" in _log_groups(cloud))
    assert eventually(lambda: ran() if len(ran()) == 2 else None) == {*both}


def _two_versions(cloud: Cloud, name: str, handler: str) -> tuple[str, str]:
    """Deploys a function with two versions behind its alias `live`, each with half of the calls."""
    cloud.add_function(name, handler)
    functions = cloud.client("lambda")
    old = functions.publish_version(FunctionName=name)["Version"]
    functions.update_function_configuration(FunctionName=name, Description="another one")
    new = functions.publish_version(FunctionName=name)["Version"]
    routing = {"AdditionalVersionWeights": {new: 0.5}}
    functions.create_alias(FunctionName=name, Name="live", FunctionVersion=old, RoutingConfig=routing)
    return old, new


def test_find_apis_of_every_account(upstream: Cloud, cloud: Cloud) -> None:
    status = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        arn = emulator.add_function("behind_api", ECHO)
        status[name] = call(emulator, "GET", f"{add_http_api(emulator, arn, {'GET /here': 'NONE'})}/here").status
    assert status["upstream"] == 404, upstream_does_it_now("find_apis_of_every_account")
    assert status["ours"] == 200


def test_give_apis_all_their_paths(upstream: Cloud, cloud: Cloud) -> None:
    bodies = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        arn = emulator.add_function("healthy", ECHO)
        api = add_http_api(emulator, arn, {"GET /health": "NONE"}).split("/")[-2]
        host = f"{api}.execute-api.localhost:{emulator.local.endpoint.rsplit(':', 1)[1]}"
        bodies[name] = call(emulator, "GET", f"{emulator.local.endpoint}/health", host=host).data
    assert b"services" in bodies["upstream"], upstream_does_it_now("give_apis_all_their_paths")
    assert bodies["ours"] == b"here"


def test_keep_function_errors_from_callers(upstream: Cloud, cloud: Cloud) -> None:
    answers = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        arn = emulator.add_function("fails", "def handler(event, context):\n    raise ValueError('our secret')")
        api = add_http_api(emulator, arn, {"GET /fails": "NONE"})
        signed = boto3.Session(ACCOUNT, "local").get_credentials()  # so that upstream finds the API
        answers[name] = call(emulator, "GET", f"{api}/fails", signed)
    assert answers["upstream"].status == 502, upstream_does_it_now("keep_function_errors_from_callers")
    assert (answers["ours"].status, answers["ours"].json()) == (500, {"message": "Internal Server Error"})


def test_refuse_callers_of_apis_in_one_way(upstream: Cloud, cloud: Cloud) -> None:
    answers = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        arn = emulator.add_function("closed", ECHO)
        api = add_http_api(emulator, arn, {"GET /closed": "AWS_IAM"})
        nobody = boto3.Session("AKIANOBODY", "x").get_credentials()
        answers[name] = call(emulator, "GET", f"{api}/closed", nobody)
    assert b"security token" in answers["upstream"].data, upstream_does_it_now("refuse_callers_of_apis_in_one_way")
    assert (answers["ours"].status, answers["ours"].json()) == (403, {"message": "Forbidden"})


def test_delete_settings_of_one_route(upstream: Cloud, cloud: Cloud) -> None:
    stages = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        arn = emulator.add_function("limited", ECHO)
        routes = {"GET /one": "NONE", "GET /two/{id}": "NONE"}
        api = add_http_api(emulator, arn, routes).split("/")[-2]
        gateway = emulator.client("apigatewayv2")
        which = {"ApiId": api, "StageName": "$default"}
        gateway.update_stage(**which, RouteSettings={route: {"ThrottlingBurstLimit": 1} for route in routes})
        gateway.delete_route_settings(**which, RouteKey="GET /two/{id}")
        stages[name] = [set(stage["RouteSettings"]) for stage in gateway.get_stages(ApiId=api)["Items"]]
    assert stages["upstream"] == [], upstream_does_it_now("delete_settings_of_one_route")
    assert stages["ours"] == [{"GET /one"}]


def test_tell_roles_who_assumes_them(upstream: Cloud, cloud: Cloud) -> None:
    def can_assume(emulator: Cloud, name: str, key: str, value: str) -> bool:
        condition = {"StringEquals": {key: value}}
        role = emulator.add_role(name, logs_statement(name), Condition=condition)
        try:
            emulator.client("sts").assume_role(RoleArn=role, RoleSessionName="resize")
        except ClientError:
            return False
        return True

    may = can_assume(upstream, "own-account", "aws:SourceAccount", ACCOUNT)
    assert not may, upstream_does_it_now("tell_roles_who_assumes_them")
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:resize"
    assert can_assume(cloud, "own-account", "aws:SourceAccount", ACCOUNT)
    assert not can_assume(cloud, "other-account", "aws:SourceAccount", OTHER_ACCOUNT)
    assert can_assume(cloud, "own-function", "aws:SourceArn", function)
    assert not can_assume(cloud, "other-function", "aws:SourceArn", f"{function}-not")


def assumed(cloud: Cloud, role: str) -> dict[str, str]:
    """Credentials of a role, for a client."""
    arn = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    keys = cloud.client("sts").assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
    return {
        "aws_access_key_id": keys["AccessKeyId"],
        "aws_secret_access_key": keys["SecretAccessKey"],
        "aws_session_token": keys["SessionToken"],
    }


def is_allowed(call: Callable[..., Any], **parameters: Any) -> bool:
    try:
        call(**parameters)
    except ClientError as error:
        if not error.response["Error"]["Code"].startswith(("AccessDenied", "AuthorizationError")):
            raise
        return False
    return True


def add_bounded(emulator: Cloud) -> Callable[[str], bool]:
    """Whether somebody who may make roles with one boundary can make one with another."""
    boundary = f"arn:aws:iam::{ACCOUNT}:policy/most"
    for name in ("most", "more"):
        emulator.client("iam").create_policy(PolicyName=name, PolicyDocument=policy(allow("s3:GetObject")))
    emulator.add_role(
        "may-make", allow("iam:CreateRole", Condition={"StringEquals": {"iam:PermissionsBoundary": boundary}})
    )
    iam = emulator.client("iam", **assumed(emulator, "may-make"))

    def can_make(name: str) -> bool:
        arn = f"arn:aws:iam::{ACCOUNT}:policy/{name}"
        return is_allowed(
            iam.create_role, RoleName=f"with-{name}", AssumeRolePolicyDocument=policy(), PermissionsBoundary=arn
        )

    return can_make


def add_locks(emulator: Cloud) -> Callable[[str], bool]:
    """Whether somebody who may write items of one name can write one of another."""
    key = {"AttributeName": "LockID"}
    emulator.client("dynamodb").create_table(
        TableName="locks", KeySchema=[{**key, "KeyType": "HASH"}], BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{**key, "AttributeType": "S"}],
    )  # fmt: skip
    own = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["own/*"]}, "Null": {"dynamodb:LeadingKeys": "false"}}
    emulator.add_role("may-lock", allow("dynamodb:PutItem", Condition=own))
    table = emulator.client("dynamodb", **assumed(emulator, "may-lock"))
    return lambda name: is_allowed(table.put_item, TableName="locks", Item={"LockID": {"S": name}})


def add_mappings(emulator: Cloud) -> Callable[[str], bool]:
    """Whether somebody who may feed one function can feed another."""
    for name in ("own_fed", "other_fed"):
        emulator.add_function(name, ECHO, logs_statement(name), allow("sqs:*"))
    queue = emulator.client("sqs").create_queue(QueueName="fed")["QueueUrl"]
    arn = emulator.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"][
        "QueueArn"
    ]
    own = {"ArnLike": {"lambda:FunctionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:own_*"}}
    actions = ("lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping")
    emulator.add_role("may-feed", allow(*actions, Condition=own))
    functions = emulator.client("lambda", **assumed(emulator, "may-feed"))

    def can_feed(name: str) -> bool:
        return is_allowed(functions.create_event_source_mapping, FunctionName=name, EventSourceArn=arn) and all(
            is_allowed(functions.delete_event_source_mapping, UUID=mapping["UUID"])
            for mapping in emulator.client("lambda").list_event_source_mappings(FunctionName=name)[
                "EventSourceMappings"
            ]
        )

    return can_feed


def add_apis(emulator: Cloud) -> Callable[[str], bool]:
    """Whether somebody who may make and change APIs of one tag can do so with another."""
    apis = {
        name: emulator.client("apigatewayv2").create_api(Name=name, ProtocolType="HTTP", Tags={"Environment": name})
        for name in ("own", "other")
    }
    making = allow("apigateway:POST", Condition={"StringEquals": {"aws:RequestTag/Environment": "own"}})
    changing = allow("apigateway:POST", Condition={"StringEquals": {"aws:ResourceTag/Environment": "own"}})
    emulator.add_role("may-serve", making, changing)
    client = emulator.client("apigatewayv2", **assumed(emulator, "may-serve"))
    return lambda name: (
        is_allowed(client.create_api, Name="more", ProtocolType="HTTP", Tags={"Environment": name})
        and is_allowed(client.create_route, ApiId=apis[name]["ApiId"], RouteKey="GET /more")
    )


def add_callers(emulator: Cloud) -> Callable[[str], bool]:
    """Whether somebody who may let one service call a function can let another."""
    emulator.add_function("invited", ECHO, logs_statement("invited"))
    own = {"StringEquals": {"lambda:Principal": "apigateway.amazonaws.com"}}
    emulator.add_role("may-open", allow("lambda:AddPermission", Condition=own))
    functions = emulator.client("lambda", **assumed(emulator, "may-open"))
    return lambda name: is_allowed(
        functions.add_permission, FunctionName="invited", StatementId=f"for-{name.partition('.')[0]}",
        Action="lambda:InvokeFunction", Principal=name,
    )  # fmt: skip


def add_keys(emulator: Cloud) -> Callable[[str], bool]:
    """Whether somebody who may use the key of one alias can use that of another."""
    kms = emulator.client("kms")
    keys = {name: kms.create_key()["KeyMetadata"]["KeyId"] for name in ("own", "other")}
    for name, key in keys.items():
        kms.create_alias(AliasName=f"alias/{name}", TargetKeyId=key)
    emulator.add_role(
        "may-encrypt",
        allow("kms:Encrypt", Condition={"ForAnyValue:StringEquals": {"kms:ResourceAliases": ["alias/own"]}}),
    )
    user = emulator.client("kms", **assumed(emulator, "may-encrypt"))
    return lambda name: is_allowed(user.encrypt, KeyId=keys[name], Plaintext=b"x")


@pytest.mark.parametrize(
    ("add", "own", "other"),
    [
        (add_apis, "own", "other"),
        (add_bounded, "most", "more"),
        (add_callers, "apigateway.amazonaws.com", "222222222222"),
        (add_keys, "own", "other"),
        (add_locks, "own/lock", "other/lock"),
        (add_mappings, "own_fed", "other_fed"),
    ],
)
def test_tell_policies_more_of_requests(
    upstream: Cloud, cloud: Cloud, add: Callable[[Cloud], Callable[[str], bool]], own: str, other: str
) -> None:
    assert not add(upstream)(own), upstream_does_it_now("tell_policies_more_of_requests")
    may = add(cloud)
    assert (may(own), may(other)) == (True, False)


def test_tell_policies_more_of_requests_and_ask_who_passes_roles(upstream: Cloud, cloud: Cloud) -> None:
    def can_pass(emulator: Cloud, name: str) -> bool:
        arns = {role: emulator.add_role(f"{name}-{role}", logs_statement(name)) for role in ("own", "other")}
        passing = allow("iam:PassRole", resource=arns["own"])
        passing["Condition"] = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
        emulator.add_role(f"{name}-deploys", allow("lambda:CreateFunction"), passing)
        functions = emulator.client("lambda", **assumed(emulator, f"{name}-deploys"))
        return is_allowed(
            functions.create_function, FunctionName=f"{name}-new", PackageType="Image", Code={"ImageUri": IMAGE},
            Role=arns[name],
        )  # fmt: skip

    assert can_pass(upstream, "other"), upstream_does_it_now("tell_policies_more_of_requests")
    assert can_pass(cloud, "own")
    assert not can_pass(cloud, "other")


def test_find_what_requests_are_about(upstream: Cloud, cloud: Cloud) -> None:
    watch, bus = f"arn:aws:cloudwatch::{ACCOUNT}:dashboard/own", f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/own"
    topic, alarm = f"arn:aws:sns:{REGION}:{ACCOUNT}:own", f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:own"

    def allowed(emulator: Cloud, name: str) -> dict[str, bool]:
        actions = {
            "cloudwatch:DeleteAlarms": alarm, "cloudwatch:PutDashboard": watch, "events:CreateEventBus": bus,
            "ecr:DescribeRepositories": f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/own",
            "iam:PassRole": "*", "lambda:CreateFunction": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:own",
            "sns:ListTagsForResource": topic,
        }  # fmt: skip
        emulator.client("sns").create_topic(Name=name)
        emulator.client("ecr").create_repository(repositoryName=name)
        emulator.add_role(f"about-{name}", *(allow(action, resource=arn) for action, arn in actions.items()))

        def client(service: str) -> Any:
            return emulator.client(service, **assumed(emulator, f"about-{name}"))

        return {
            "alarm": is_allowed(client("cloudwatch").delete_alarms, AlarmNames=[name]),
            "dashboard": is_allowed(
                client("cloudwatch").put_dashboard, DashboardName=name, DashboardBody='{"widgets": []}'
            ),
            "repository": is_allowed(client("ecr").describe_repositories, repositoryNames=[name]),
            "function": is_allowed(
                client("lambda").create_function,
                FunctionName=name,
                PackageType="Image",
                Code={"ImageUri": IMAGE},
                Role=f"arn:aws:iam::{ACCOUNT}:role/about-{name}",
            ),
            "event bus": is_allowed(client("events").create_event_bus, Name=name),
            "tags": is_allowed(client("sns").list_tags_for_resource, ResourceArn=topic.replace("own", name)),
        }

    assert not any(allowed(upstream, "own").values()), upstream_does_it_now("find_what_requests_are_about")
    assert all(allowed(cloud, "own").values())
    assert not any(allowed(cloud, "other").values())


def test_find_which_version_is_called(upstream: Cloud, cloud: Cloud) -> None:
    def can_call(emulator: Cloud, *qualifier: str) -> bool:
        arn = emulator.add_function("called", ECHO)
        functions = emulator.client("lambda")
        functions.publish_version(FunctionName="called")
        emulator.add_role("may-call", allow("lambda:InvokeFunction", resource=f"{arn}:1"))
        more = {"Qualifier": qualifier[0]} if qualifier else {}
        try:
            return is_allowed(
                emulator.client("lambda", **assumed(emulator, "may-call")).invoke, FunctionName="called", **more
            )
        finally:
            functions.delete_function(FunctionName="called")
            for role in ("called", "may-call"):
                emulator.client("iam").delete_role_policy(RoleName=role, PolicyName="own")
                emulator.client("iam").delete_role(RoleName=role)

    assert not can_call(upstream, "1"), upstream_does_it_now("find_what_requests_are_about")
    assert can_call(cloud, "1")
    assert not can_call(cloud)


def test_judge_log_streams_by_their_name(upstream: Cloud, cloud: Cloud) -> None:
    def can_write(emulator: Cloud, group: str) -> bool:
        logs = emulator.client("logs", **assumed(emulator, "writes-logs"))
        event = {"timestamp": int(time.time() * 1000), "message": "a line"}
        try:
            logs.create_log_stream(logGroupName=group, logStreamName="[1]")
            logs.put_log_events(logGroupName=group, logStreamName="[1]", logEvents=[event])
        except ClientError:
            return False
        return True

    for emulator in (upstream, cloud):
        resource = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/own:*"
        emulator.add_role("writes-logs", allow("logs:CreateLogStream", "logs:PutLogEvents", resource=resource))
        for group in ("own", "other"):
            emulator.client("logs").create_log_group(logGroupName=f"/aws/lambda/{group}")
    may = can_write(upstream, "/aws/lambda/own")
    assert not may, upstream_does_it_now("judge_log_streams_by_their_name")
    assert can_write(cloud, "/aws/lambda/own")
    assert not can_write(cloud, "/aws/lambda/other")


def test_limit_bytes_of_put_events(upstream: Cloud, cloud: Cloud) -> None:
    def takes(emulator: Cloud, count: int) -> bool:
        detail = json.dumps({"text": "x" * (256 * 1024 // 4 - len('{"text": ""}') - len("testan.event"))})
        entry = {"Source": "test", "DetailType": "an.event", "Detail": detail}
        try:
            emulator.client("events").put_events(Entries=[entry] * count)
        except ClientError:
            return False
        return True

    assert takes(upstream, 4), upstream_does_it_now("limit_bytes_of_put_events")
    assert takes(cloud, 3)
    assert not takes(cloud, 4)


def test_encode_keys_of_listed_versions(upstream: Cloud, cloud: Cloud) -> None:
    fields = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        s3 = emulator.client("s3")
        s3.create_bucket(Bucket="strange-keys", CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_bucket_versioning(Bucket="strange-keys", VersioningConfiguration={"Status": "Enabled"})
        for key in STRANGE_KEYS:
            s3.put_object(Bucket="strange-keys", Key=key, Body=b"")
            s3.delete_object(Bucket="strange-keys", Key=key)
        listed = s3.list_object_versions(Bucket="strange-keys", EncodingType="url")
        fields[name] = {entry["Key"] for entry in listed["Versions"] + listed["DeleteMarkers"]}
    assert "a b+c.jpg" in fields["upstream"], upstream_does_it_now("encode_keys_of_listed_versions")
    assert fields["ours"] == {quote(key) for key in STRANGE_KEYS}
    pages = (
        cloud.client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket="strange-keys", PaginationConfig={"PageSize": 3})
    )
    assert {
        entry["Key"] for page in pages for entry in page["Versions"] + page.get("DeleteMarkers", [])
    } == STRANGE_KEYS
    cloud.client("s3").put_object(Bucket="strange-keys", Key=CONTROL_KEY, Body=b"")
    listed = cloud.client("s3").list_object_versions(Bucket="strange-keys", Prefix="control\x01")
    assert [entry["Key"] for entry in listed["Versions"]] == [CONTROL_KEY]
    assert listed["Prefix"] == "control\x01"


def test_let_wildcards_stand_for_line_breaks(upstream: Cloud, cloud: Cloud) -> None:
    def can_read(emulator: Cloud, key: str) -> bool:
        return is_allowed(
            emulator.client("s3", **assumed(emulator, "reads-lines")).get_object, Bucket="of-lines", Key=key
        )

    for emulator in (upstream, cloud):
        emulator.client("s3").create_bucket(Bucket="of-lines", CreateBucketConfiguration={"LocationConstraint": REGION})
        for key in ("mine/two\nlines", "mine/last\n", "other/two\nlines", "one", "one\n"):
            emulator.client("s3").put_object(Bucket="of-lines", Key=key, Body=b"")
        mine = ["arn:aws:s3:::of-lines/mine/*", "arn:aws:s3:::of-lines/one"]
        emulator.add_role("reads-lines", allow("s3:GetObject", resource=mine))
    may = can_read(upstream, "mine/two\nlines")
    assert not may, upstream_does_it_now("let_wildcards_stand_for_line_breaks")
    assert all(can_read(cloud, key) for key in ("mine/two\nlines", "mine/last\n", "one"))
    assert not any(can_read(cloud, key) for key in ("other/two\nlines", "one\n"))


def test_keep_whole_alarms(upstream: Cloud, cloud: Cloud, tmp_path: Path) -> None:
    """Also with everything that Terraform may set and ours does not yet."""
    configuration = textwrap.dedent(
        """
        resource "aws_cloudwatch_metric_alarm" "simple" {
          alarm_name                = "simple & <odd>"
          alarm_description         = "What to do: https://example.org/runbook?a=b&c=d#simple"
          namespace                 = "AWS/SQS"
          metric_name               = "ApproximateNumberOfMessagesVisible"
          dimensions                = { QueueName = "uploads", Other = "b" }
          statistic                 = "Maximum"
          comparison_operator       = "GreaterThanThreshold"
          threshold                 = 0
          period                    = 60
          evaluation_periods        = 3
          datapoints_to_alarm       = 2
          treat_missing_data        = "notBreaching"
          alarm_actions             = ["arn:aws:sns:eu-west-1:111111111111:alarms"]
          ok_actions                = ["arn:aws:sns:eu-west-1:111111111111:alarms"]
          insufficient_data_actions = ["arn:aws:sns:eu-west-1:111111111111:alarms"]
        }

        resource "aws_cloudwatch_metric_alarm" "percentile" {
          alarm_name                            = "percentile"
          namespace                             = "AWS/Lambda"
          metric_name                           = "Duration"
          extended_statistic                    = "p99"
          unit                                  = "Milliseconds"
          comparison_operator                   = "GreaterThanOrEqualToThreshold"
          threshold                             = 12.5
          period                                = 300
          evaluation_periods                    = 1
          evaluate_low_sample_count_percentiles = "ignore"
        }

        resource "aws_cloudwatch_metric_alarm" "sum" {
          alarm_name          = "sum"
          comparison_operator = "GreaterThanThreshold"
          threshold           = 0
          evaluation_periods  = 3
          datapoints_to_alarm = 2
          treat_missing_data  = "notBreaching"

          metric_query {
            id          = "sum"
            label       = "throttles"
            expression  = "FILL(m0, 0) + FILL(m1, 0)"
            return_data = true
          }

          dynamic "metric_query" {
            for_each = [{ TableName = "images" }, { TableName = "images", GlobalSecondaryIndexName = "newest" }]

            content {
              id = "m${metric_query.key}"

              metric {
                namespace   = "AWS/DynamoDB"
                metric_name = "ReadThrottleEvents"
                dimensions  = metric_query.value
                stat        = "Sum"
                period      = 300
              }
            }
          }
        }
        """
    )
    upstream_keeps = _second_plan_is_empty(upstream, configuration, tmp_path / "upstream")
    assert not upstream_keeps, upstream_does_it_now("keep_whole_alarms")
    assert _second_plan_is_empty(cloud, configuration, tmp_path / "ours")


def test_force_destroy_empties_a_bucket_of_strange_keys(cloud: Cloud, tmp_path: Path) -> None:
    """What encode_keys_of_listed_versions is for; upstream never ends here."""
    bucket = 'resource "aws_s3_bucket" "it" {\n  bucket        = "to-be-destroyed"\n  force_destroy = true\n}\n'
    write_configuration(bucket, tmp_path / "bucket")
    assert terraform(cloud, tmp_path / "bucket", "init") == 0
    assert terraform(cloud, tmp_path / "bucket", "apply", "-auto-approve") == 0
    s3 = cloud.client("s3")
    s3.put_bucket_versioning(Bucket="to-be-destroyed", VersioningConfiguration={"Status": "Enabled"})
    for key in STRANGE_KEYS:
        s3.put_object(Bucket="to-be-destroyed", Key=key, Body=b"")
        s3.delete_object(Bucket="to-be-destroyed", Key=key)
    assert terraform(cloud, tmp_path / "bucket", "destroy", "-auto-approve") == 0
    with pytest.raises(ClientError, match="404"):
        s3.head_bucket(Bucket="to-be-destroyed")


def test_evaluate_alarms_as_configured(upstream: Cloud, cloud: Cloud) -> None:
    """Two alarms on one metric, told apart by dimension only."""
    states = {}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        cloudwatch = emulator.client("cloudwatch")
        for queue in ("calm", "troubled"):
            cloudwatch.put_metric_alarm(
                AlarmName=queue,
                Namespace="Test",
                MetricName="Lost",
                Dimensions=[{"Name": "QueueName", "Value": queue}],
                Statistic="Maximum",
                ComparisonOperator="GreaterThanThreshold",
                Threshold=0,
                Period=60,
                EvaluationPeriods=3,
                DatapointsToAlarm=1,
                TreatMissingData="notBreaching",
            )
            dimensions = [{"Name": "QueueName", "Value": queue}]
            value = 0 if queue == "calm" else 3
            cloudwatch.put_metric_data(
                Namespace="Test", MetricData=[{"MetricName": "Lost", "Value": value, "Dimensions": dimensions}]
            )
        alarms = cloudwatch.describe_alarms(AlarmNames=["calm", "troubled"])["MetricAlarms"]
        states[name] = {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms}
    assert states["upstream"]["calm"] == "ALARM", upstream_does_it_now("evaluate_alarms_as_configured")
    assert states["ours"] == {"calm": "OK", "troubled": "ALARM"}


def test_alarm_on_the_sum_of_a_table_and_its_index_is_raised_by_the_index(upstream: Cloud, cloud: Cloud) -> None:
    """And it ends by itself. An alarm on the metric alone stays: CloudWatch ignores missing data of DynamoDB."""
    states, index = {}, [{"Name": "TableName", "Value": "t"}, {"Name": "GlobalSecondaryIndexName", "Value": "newest"}]
    metric = {"Namespace": "AWS/DynamoDB", "MetricName": "ReadThrottleEvents"}
    how = {"ComparisonOperator": "GreaterThanThreshold", "Threshold": 0, "EvaluationPeriods": 3, "DatapointsToAlarm": 1}
    how["TreatMissingData"] = "notBreaching"
    parts = [
        {"Id": f"m{place}", "MetricStat": {"Metric": {**metric, "Dimensions": it}, "Period": 60, "Stat": "Sum"}}
        for place, it in enumerate((index[:1], index))
    ]
    total = {"Id": "sum", "Expression": "FILL(m0, 0) + FILL(m1, 0)"}
    for name, emulator in (("upstream", upstream), ("ours", cloud)):
        watch = emulator.client("cloudwatch")
        watch.put_metric_alarm(AlarmName="sum", Metrics=[total, *parts], **how)
        watch.put_metric_alarm(AlarmName="table", **metric, Dimensions=index[:1], Statistic="Sum", Period=60, **how)

        def state(alarm: str, watch: Any = watch) -> str:
            return str(watch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"])

        watch.set_alarm_state(AlarmName="sum", StateValue="ALARM", StateReason="a throttle, an hour ago")
        watch.set_alarm_state(AlarmName="table", StateValue="ALARM", StateReason="a throttle, an hour ago")
        watch.put_metric_data(Namespace="Other", MetricData=[{"MetricName": "Any", "Value": 1}])  # alarms are evaluated
        calm = state("sum"), state("table")
        point = {"MetricName": "ReadThrottleEvents", "Value": 1, "Dimensions": index}
        watch.put_metric_data(Namespace="AWS/DynamoDB", MetricData=[point])
        states[name] = (*calm, state("sum"))
    assert states["upstream"] != states["ours"], upstream_does_it_now("evaluate_alarms_as_configured")
    assert states["ours"] == ("OK", "ALARM", "ALARM")


def test_record_actions_of_alarms(upstream: Cloud, cloud: Cloud) -> None:
    def actions(cloud: Cloud) -> list[str]:
        cloudwatch, topic = cloud.client("cloudwatch"), cloud.client("sns").create_topic(Name="called")["TopicArn"]
        cloudwatch.put_metric_alarm(
            AlarmName="calls", Namespace="x", MetricName="y", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=0, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
            AlarmActions=[topic, f"{topic}-that-is-gone"],
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName="calls", StateValue="ALARM", StateReason="test")
        history = cloudwatch.describe_alarm_history(AlarmName="calls", HistoryItemType="Action")["AlarmHistoryItems"]
        return sorted(item["HistorySummary"].replace(topic, "topic") for item in history)

    assert actions(cloud) == [
        "Failed to execute action topic-that-is-gone",
        "Successfully executed action topic",
    ]
    assert actions(upstream) == [], upstream_does_it_now("record_actions_of_alarms")


def test_publish_queue_metrics(upstream: Cloud, cloud: Cloud) -> None:
    for emulator in (upstream, cloud):
        sqs = emulator.client("sqs")
        sqs.send_message(QueueUrl=sqs.create_queue(QueueName="measured")["QueueUrl"], MessageBody="a")
    names = eventually(lambda: _metrics(cloud, "measured"), seconds=30)
    assert {"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"} <= names
    assert not _metrics(upstream, "measured"), upstream_does_it_now("publish_queue_metrics")


def test_save_while_running(upstream: Cloud, cloud: Cloud) -> None:
    """Upstream was not asked to stop yet, so it has saved nothing of what the tests above made."""
    for emulator in (upstream, cloud):
        emulator.client("sqs").create_queue(QueueName="saved")
    eventually(lambda: "saved" in _saved_state(cloud, "sqs"))
    assert "saved" not in _saved_state(upstream, "sqs"), upstream_does_it_now("save_while_running")


def test_leave_port_443_alone() -> None:
    """Whether upstream may bind it depends on who runs the test, so its source has to do; ours is in test_lifecycle."""
    package = importlib.util.find_spec("ministack")
    assert package is not None
    assert package.origin is not None
    main = Path(package.origin).with_name("app.py").read_text().partition("def main(")[2]
    assert "_port_is_bindable(bind_host, 443)" in main, upstream_does_it_now("leave_port_443_alone")


def test_stop_in_spite_of_idle_clients() -> None:
    """How long the server takes is in nobody's hands here; that hypercorn leaves the time to asyncio is."""
    assert asyncio.constants.SSL_SHUTDOWN_TIMEOUT == 30
    assert "ssl_shutdown_timeout" not in inspect.getsource(hypercorn.asyncio.run), upstream_does_it_now(
        "stop_in_spite_of_idle_clients"
    )


def _log_groups(cloud: Cloud) -> set[str]:
    return {group["logGroupName"] for group in cloud.client("logs").describe_log_groups()["logGroups"]}


def _metrics(cloud: Cloud, queue: str) -> set[str]:
    dimensions = [{"Name": "QueueName", "Value": queue}]
    metrics = cloud.client("cloudwatch").list_metrics(Namespace="AWS/SQS", Dimensions=dimensions)["Metrics"]
    return {metric["MetricName"] for metric in metrics}


def _saved_state(cloud: Cloud, service: str) -> str:
    file = cloud.root / ".local/state" / f"{service}.json"
    return file.read_text() if file.exists() else ""


def _second_plan_is_empty(cloud: Cloud, configuration: str, folder: Path) -> bool:
    """Whether the configuration can be applied and then finds nothing to do."""
    write_configuration(configuration, folder)
    assert terraform(cloud, folder, "init") == 0
    applied = terraform(cloud, folder, "apply", "-auto-approve") == 0
    return applied and terraform(cloud, folder, "plan", "-detailed-exitcode") == 0
