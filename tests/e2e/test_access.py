"""Who gets in as a workflow, and what such a role may not do; that it may do its work shows in how everything here is
planned, applied and destroyed."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clones import REGION, Clone
from imagepipe.live import roles as github

from .conftest import ENVIRONMENTS

ACCOUNT = ENVIRONMENTS["dev"]
PREFIX = "image-pipeline-dev"
STATE = f"image-pipeline-tfstate-{ACCOUNT}-{REGION}"
LOCKS = "image-pipeline-tflock"
QUEUE = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{PREFIX}-uploads"
UPLOADS = f"{PREFIX}-uploads-{ACCOUNT}-{REGION}"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-boundary"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})

#: What services say to who may not.
DENIED = {"AccessDenied", "AccessDeniedException", "AuthorizationError"}

#: Makes a client of a service.
Client = Callable[[str], Any]
Call = Callable[[Client], Any]


def role_of(name: str, account: str = ACCOUNT) -> str:
    return f"arn:aws:iam::{account}:role/{PREFIX}-{name}"


def may_take(clone: Clone, role: str, subject: str) -> bool:
    token = github.token(subject)
    try:
        clone.client("dev", "sts").assume_role_with_web_identity(
            RoleArn=role_of(f"ci-{role}"), RoleSessionName="test", WebIdentityToken=token
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("role", "job", "may"),
    [
        ("plan", "environment:plan", True),
        ("plan", "environment:dev", False),
        ("plan", "pull_request", False),
        ("plan", "ref:refs/heads/main", True),
        ("plan", "ref:refs/heads/feature", False),
        ("apply", "environment:dev", True),
        ("apply", "environment:prod", False),
        ("apply", "environment:dev-and-more", False),
        ("apply", "environment:plan", False),
        ("apply", "pull_request", False),
        ("apply", "ref:refs/heads/main", False),
    ],
)
def test_only_named_jobs_take_a_role(deployed: Clone, role: str, job: str, may: bool) -> None:
    assert may_take(deployed, role, f"repo:{github.repository()}:{job}") is may


@pytest.mark.parametrize("owner", ["somebody/image-pipeline", "your--organisation/image-pipeline-fork"])
def test_no_other_repository_takes_a_role(deployed: Clone, owner: str) -> None:
    assert not may_take(deployed, "apply", f"repo:{owner}:environment:dev")


def refused(clone: Clone, role: str, call: Call) -> str:
    """The code with which a call is refused under a role; it must not go through."""
    with pytest.raises(ClientError) as raised:
        call(lambda service: clone.client("dev", service, role))
    return str(raised.value.response["Error"]["Code"])


#: What whoever reads may not do: write anything, or see what people have uploaded.
NOT_BY_READERS: dict[str, Call] = {
    "an upload": lambda c: c("s3").put_object(Bucket=UPLOADS, Key="a.jpg", Body=b"x"),
    "an image read": lambda c: c("s3").get_object(Bucket=UPLOADS, Key="a.jpg"),
    "an image deleted": lambda c: c("s3").delete_object(Bucket=UPLOADS, Key="a.jpg"),
    "a bucket": lambda c: c("s3").create_bucket(
        Bucket=f"{PREFIX}-more", CreateBucketConfiguration={"LocationConstraint": REGION}
    ),
    "a bucket's policy": lambda c: c("s3").delete_bucket_policy(Bucket=UPLOADS),
    "the state": lambda c: c("s3").put_object(Bucket=STATE, Key="live/dev/storage/terraform.tfstate", Body=b"{}"),
    "a lock": lambda c: c("dynamodb").put_item(
        TableName=LOCKS, Item={"LockID": {"S": f"{STATE}/live/dev/storage/terraform.tfstate"}}
    ),
    "records listed": lambda c: c("dynamodb").scan(TableName=f"{PREFIX}-images"),
    "a record": lambda c: c("dynamodb").get_item(TableName=f"{PREFIX}-images", Key={"image_id": {"S": "x"}}),
    "a table": lambda c: c("dynamodb").delete_table(TableName=f"{PREFIX}-images"),
    "a message": lambda c: c("sqs").send_message(QueueUrl=QUEUE, MessageBody="{}"),
    "messages received": lambda c: c("sqs").receive_message(QueueUrl=QUEUE),
    "a queue emptied": lambda c: c("sqs").purge_queue(QueueUrl=QUEUE),
    "a function called": lambda c: c("lambda").invoke(FunctionName=f"{PREFIX}-api", Payload=b"{}"),
    "a function's settings": lambda c: c("lambda").update_function_configuration(
        FunctionName=f"{PREFIX}-api", MemorySize=1024
    ),
    "a function's rights": lambda c: c("iam").put_role_policy(
        RoleName=f"{PREFIX}-api", PolicyName="more", PolicyDocument=EVERYTHING
    ),
    "a log group": lambda c: c("logs").delete_log_group(logGroupName=f"/aws/lambda/{PREFIX}-api"),
    "log lines": lambda c: c("logs").filter_log_events(logGroupName=f"/aws/lambda/{PREFIX}-api"),
    "an alarm": lambda c: c("cloudwatch").delete_alarms(AlarmNames=[f"{PREFIX}-queue-age"]),
    "an event": lambda c: c("events").put_events(
        Entries=[{"EventBusName": f"{PREFIX}-images", "Source": "x", "DetailType": "x", "Detail": "{}"}]
    ),
    "a topic": lambda c: c("sns").delete_topic(TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:{PREFIX}-alarms"),
    "an API": lambda c: c("apigatewayv2").create_api(Name="another", ProtocolType="HTTP"),
}


@pytest.mark.parametrize("what", NOT_BY_READERS)
def test_the_plan_role_writes_nothing_and_sees_no_image(deployed: Clone, what: str) -> None:
    assert refused(deployed, "plan", NOT_BY_READERS[what]) in DENIED


def create_function(client: Client, name: str, role: str) -> None:
    client("lambda").create_function(
        FunctionName=name, Role=role, PackageType="Image", Code={"ImageUri": "x.dkr.ecr/x@sha256:" + "0" * 64}
    )


#: Ways from what the apply role may do to what it may not.
ESCALATIONS: dict[str, Call] = {
    "an administrator's policy for a function": lambda c: c("iam").attach_role_policy(
        RoleName=f"{PREFIX}-api", PolicyArn=ADMINISTRATOR
    ),
    "an administrator's policy for itself": lambda c: c("iam").attach_role_policy(
        RoleName=f"{PREFIX}-ci-apply", PolicyArn=ADMINISTRATOR
    ),
    "more rights for itself": lambda c: c("iam").put_role_policy(
        RoleName=f"{PREFIX}-ci-apply", PolicyName="more", PolicyDocument=EVERYTHING
    ),
    "other jobs let in": lambda c: c("iam").update_assume_role_policy(
        RoleName=f"{PREFIX}-ci-apply", PolicyDocument=TRUST
    ),
    "a role, even with the boundary": lambda c: c("iam").create_role(
        RoleName=f"{PREFIX}-more", AssumeRolePolicyDocument=TRUST, PermissionsBoundary=BOUNDARY
    ),
    "a function's role opened to others": lambda c: c("iam").update_assume_role_policy(
        RoleName=f"{PREFIX}-processor", PolicyDocument=TRUST
    ),
    "a function opened to another account": lambda c: c("lambda").add_permission(
        FunctionName=f"{PREFIX}-api", StatementId="more", Action="lambda:InvokeFunction", Principal="222222222222"
    ),
    "the boundary dropped": lambda c: c("iam").delete_role_permissions_boundary(RoleName=f"{PREFIX}-api"),
    "the boundary exchanged": lambda c: c("iam").put_role_permissions_boundary(
        RoleName=f"{PREFIX}-api", PermissionsBoundary=ADMINISTRATOR
    ),
    "the boundary widened": lambda c: c("iam").create_policy_version(
        PolicyArn=BOUNDARY, PolicyDocument=EVERYTHING, SetAsDefault=True
    ),
    "its own policy widened": lambda c: c("iam").create_policy_version(
        PolicyArn=f"arn:aws:iam::{ACCOUNT}:policy/{PREFIX}-ci-write", PolicyDocument=EVERYTHING, SetAsDefault=True
    ),
    "a user": lambda c: c("iam").create_user(UserName=f"{PREFIX}-user"),
    "another provider": lambda c: c("iam").create_open_id_connect_provider(Url="https://example.com"),
    "itself given to a function": lambda c: create_function(c, f"{PREFIX}-more", role_of("ci-apply")),
    "a role of another prefix given to a function": lambda c: create_function(
        c, f"{PREFIX}-more", f"arn:aws:iam::{ACCOUNT}:role/administrator"
    ),
    "a function of another prefix": lambda c: create_function(c, "other-function", role_of("api")),
    "a function of another prefix fed": lambda c: c("lambda").create_event_source_mapping(
        FunctionName="other-function", EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{PREFIX}-uploads"
    ),
    "a bucket of another prefix": lambda c: c("s3").create_bucket(
        Bucket="other-bucket", CreateBucketConfiguration={"LocationConstraint": REGION}
    ),
    "a table of another prefix": lambda c: c("dynamodb").delete_table(TableName=LOCKS),
    "another environment's state read": lambda c: c("s3").get_object(
        Bucket=STATE, Key="live/prod/storage/terraform.tfstate"
    ),
    "another environment's state written": lambda c: c("s3").put_object(
        Bucket=STATE, Key="live/prod/storage/terraform.tfstate", Body=b"{}"
    ),
    "a policy of its own for the bucket of states": lambda c: c("s3").put_bucket_policy(
        Bucket=STATE, Policy=EVERYTHING
    ),
    "the bucket of states opened": lambda c: c("s3").delete_public_access_block(Bucket=STATE),
    "the history of states switched off": lambda c: c("s3").put_bucket_versioning(
        Bucket=STATE, VersioningConfiguration={"Status": "Suspended"}
    ),
    "the table of locks": lambda c: c("dynamodb").update_table(TableName=LOCKS, BillingMode="PAY_PER_REQUEST"),
    "another environment's lock": lambda c: c("dynamodb").delete_item(
        TableName=LOCKS, Key={"LockID": {"S": f"{STATE}/live/prod/storage/terraform.tfstate"}}
    ),
    "the history of states": lambda c: c("s3").delete_object(Bucket=STATE, Key="live/dev/storage/terraform.tfstate"),
    # Not by asking for it. Where stores may be erased, a bucket policy for itself would do; see test_who_may_what.py.
    "an image read directly": lambda c: c("s3").get_object(Bucket=UPLOADS, Key="a.jpg"),
    "records listed directly": lambda c: c("dynamodb").scan(TableName=f"{PREFIX}-images"),
    "a record changed": lambda c: c("dynamodb").update_item(
        TableName=f"{PREFIX}-images", Key={"image_id": {"S": "x"}}, AttributeUpdates={}
    ),
    "a key": lambda c: c("kms").create_key(Tags=[{"TagKey": "Environment", "TagValue": "dev"}]),
    "an API without the tag": lambda c: c("apigatewayv2").create_api(Name=PREFIX, ProtocolType="HTTP"),
    "an API with another environment's tag": lambda c: c("apigatewayv2").create_api(
        Name=PREFIX, ProtocolType="HTTP", Tags={"Environment": "prod"}
    ),
}


@pytest.mark.parametrize("what", ESCALATIONS)
def test_the_apply_role_finds_no_way_up(deployed: Clone, what: str) -> None:
    assert refused(deployed, "apply", ESCALATIONS[what]) in DENIED


PROD = "image-pipeline-prod"
KEPT_BUCKET = f"{PROD}-uploads-{ENVIRONMENTS['prod']}-{REGION}"
KEPT_TABLE = f"{PROD}-images"

#: What force_destroy = false keeps even from those who deploy.
ERASING: dict[str, Call] = {
    "an image": lambda c: c("s3").delete_object(Bucket=KEPT_BUCKET, Key="a.jpg"),
    "a version of an image": lambda c: c("s3").delete_object(Bucket=KEPT_BUCKET, Key="a.jpg", VersionId="x"),
    "a bucket": lambda c: c("s3").delete_bucket(Bucket=KEPT_BUCKET),
    "versions": lambda c: c("s3").put_bucket_versioning(
        Bucket=KEPT_BUCKET, VersioningConfiguration={"Status": "Suspended"}
    ),
    "everything after a day": lambda c: c("s3").put_bucket_lifecycle_configuration(
        Bucket=KEPT_BUCKET,
        LifecycleConfiguration={"Rules": [{"ID": "all", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}]},
    ),
    "images read by a bucket policy": lambda c: c("s3").put_bucket_policy(Bucket=KEPT_BUCKET, Policy=EVERYTHING),
    "the table": lambda c: c("dynamodb").delete_table(TableName=KEPT_TABLE),
    "the table's protection": lambda c: c("dynamodb").update_table(
        TableName=KEPT_TABLE, DeletionProtectionEnabled=False
    ),
    "the table's backups": lambda c: c("dynamodb").update_continuous_backups(
        TableName=KEPT_TABLE, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
    ),
    "records that expire": lambda c: c("dynamodb").update_time_to_live(
        TableName=KEPT_TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "written_at"}
    ),
    "messages": lambda c: c("sqs").delete_queue(
        QueueUrl=f"https://sqs.{REGION}.amazonaws.com/{ENVIRONMENTS['prod']}/{PROD}-uploads"
    ),
}


@pytest.mark.parametrize("what", ERASING)
def test_the_apply_role_erases_nothing_that_is_kept(deployed: Clone, what: str) -> None:
    with pytest.raises(ClientError) as raised:
        ERASING[what](lambda service: deployed.client("prod", service, "apply"))
    assert raised.value.response["Error"]["Code"] in DENIED


def test_the_apply_role_changes_its_own_api_and_no_other(deployed: Clone) -> None:
    """An API of another environment in the same account has that environment's tag."""
    administrator, role = (deployed.client("dev", "apigatewayv2", role) for role in ("", "apply"))
    other = administrator.create_api(Name=PROD, ProtocolType="HTTP", Tags={"Environment": "prod"})["ApiId"]
    own = deployed.outputs("dev")["api_url"].removeprefix("https://").partition(".")[0]
    try:
        route = role.create_route(ApiId=own, RouteKey="GET /probe")["RouteId"]
        role.delete_route(ApiId=own, RouteId=route)
        for call in (
            lambda: role.create_route(ApiId=other, RouteKey="GET /probe"),
            lambda: role.update_api(ApiId=other, Name="mine"),
            lambda: role.delete_api(ApiId=other),
            lambda: role.tag_resource(
                ResourceArn=f"arn:aws:apigateway:{REGION}::/apis/{other}", Tags={"Environment": "dev"}
            ),
        ):
            with pytest.raises(ClientError) as raised:
                call()
            assert raised.value.response["Error"]["Code"] in DENIED
    finally:
        administrator.delete_api(ApiId=other)


def test_the_apply_role_needs_no_right_to_bootstrap(deployed: Clone) -> None:
    """An administrator makes state bucket and lock table; Terragrunt only looks at them afterwards."""
    deployed.terragrunt("backend", "bootstrap", unit="dev/storage", role="apply")


def test_a_boundary_holds_whatever_a_role_is_given(deployed: Clone) -> None:
    """The apply role may give a function's role any policy; the boundary is where it ends."""
    iam, name = deployed.client("dev", "iam"), f"{PREFIX}-probe"
    root = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [root]})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, PermissionsBoundary=BOUNDARY)
    try:
        deployed.client("dev", "iam", "apply").put_role_policy(
            RoleName=name, PolicyName="all", PolicyDocument=EVERYTHING
        )
        session = deployed.client("dev", "sts").assume_role(RoleArn=role_of("probe"), RoleSessionName="test")
        credentials = {
            "aws_access_key_id": session["Credentials"]["AccessKeyId"],
            "aws_secret_access_key": session["Credentials"]["SecretAccessKey"],
            "aws_session_token": session["Credentials"]["SessionToken"],
        }
        deployed.client("dev", "s3", **credentials).list_objects_v2(Bucket=UPLOADS)
        for service, call in (("s3", "list_buckets"), ("iam", "list_roles"), ("lambda", "list_functions")):
            with pytest.raises(ClientError):
                getattr(deployed.client("dev", service, **credentials), call)()
    finally:
        iam.delete_role_policy(RoleName=name, PolicyName="all")
        iam.delete_role(RoleName=name)


def test_a_role_that_nobody_has_made_is_one_line(deployed: Clone) -> None:
    finished = deployed.imagepipe("plan", "--env", "dev", check=False, ROLE="owner")
    assert finished.returncode == 1
    assert finished.stderr == "imagepipe: there is no role 'owner': ROLE is one of plan, apply, or not set\n"
