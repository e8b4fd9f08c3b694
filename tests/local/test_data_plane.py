"""What the pipeline relies on between the services, tried with enforcement on as on AWS."""

import json
import uuid
from typing import Any
from urllib.parse import unquote_plus

import boto3
import pytest
from botocore.exceptions import ClientError

from .conftest import (
    ACCOUNT,
    OTHER_ACCOUNT,
    REGION,
    Cloud,
    add_http_api,
    allow,
    call,
    eventually,
    logs_statement,
    policy,
)

STRANGE_KEYS = ["plain.jpg", "a b+c.jpg", "ümläut/日本.png", "quote'\"&<>.png", "percent%20.jpg"]


@pytest.fixture
def bucket(cloud: Cloud) -> str:
    """A versioned bucket that takes requests over TLS only."""
    name = f"uploads-{uuid.uuid4().hex[:8]}"
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=name, Policy=policy(deny))
    return name


@pytest.fixture
def queue(cloud: Cloud, bucket: str) -> str:
    """A queue that the bucket, and only it, may tell of its objects; returns the queue's URL."""
    sqs = cloud.client("sqs")
    url = str(sqs.create_queue(QueueName=bucket, Attributes={"VisibilityTimeout": "2"})["QueueUrl"])
    arn = _queue_arn(cloud, url)
    statement = allow("sqs:SendMessage", resource=arn, Principal={"Service": "s3.amazonaws.com"})
    statement["Condition"] = {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{bucket}"},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy(statement)})
    cloud.client("s3").put_bucket_notification_configuration(
        Bucket=bucket,
        NotificationConfiguration={
            "QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}]
        },
    )
    return url


def test_creations_and_removals_are_told_with_key_version_and_sequencer(cloud: Cloud, bucket: str, queue: str) -> None:
    s3 = cloud.client("s3")
    expected = {}
    for key in STRANGE_KEYS:
        version = s3.put_object(Bucket=bucket, Key=key, Body=b"x")["VersionId"]
        marker = s3.delete_object(Bucket=bucket, Key=key)["VersionId"]
        expected |= {(key, version): "ObjectCreated:Put", (key, marker): "ObjectRemoved:DeleteMarkerCreated"}
    answer: dict[tuple[str, str], str] = {}
    sequencers: dict[str, list[str]] = {}

    def receive() -> bool:
        for record in _receive(cloud, queue):
            key = unquote_plus(record["s3"]["object"]["key"])
            answer[key, record["s3"]["object"]["versionId"]] = record["eventName"]
            sequencers.setdefault(key, []).append(record["s3"]["object"]["sequencer"])
        return len(answer) >= len(expected)

    eventually(receive)
    assert answer == expected
    assert all(len(set(sequencer)) == 2 for sequencer in sequencers.values())


def test_a_queue_takes_no_events_of_another_bucket(cloud: Cloud, bucket: str, queue: str) -> None:
    other = f"{bucket}-other"
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=other, CreateBucketConfiguration={"LocationConstraint": REGION})
    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.put_bucket_notification_configuration(
            Bucket=other,
            NotificationConfiguration={
                "QueueConfigurations": [{"QueueArn": _queue_arn(cloud, queue), "Events": ["s3:ObjectCreated:*"]}]
            },
        )


def test_a_queue_feeds_an_alias_and_only_what_failed_comes_again(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    dead = sqs.create_queue(QueueName="feed-dead")["QueueUrl"]
    redrive = json.dumps({"deadLetterTargetArn": _queue_arn(cloud, dead), "maxReceiveCount": 2})
    attributes = {"VisibilityTimeout": "1", "RedrivePolicy": redrive}
    url = sqs.create_queue(QueueName="feed", Attributes=attributes)["QueueUrl"]
    arn = cloud.add_function(
        "feeds",
        """
        import json

        def handler(event, context):
            print(json.dumps({"version": context.function_version, "arn": context.invoked_function_arn,
                              "bodies": [record["body"] for record in event["Records"]]}))
            return {"batchItemFailures": [
                {"itemIdentifier": record["messageId"]} for record in event["Records"] if record["body"] == "poison"
            ]}
        """,
        logs_statement("feeds"),
        allow("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", resource=_queue_arn(cloud, url)),
        Publish=True,
        Timeout=5,
    )
    functions = cloud.client("lambda")
    functions.create_alias(FunctionName="feeds", Name="live", FunctionVersion="1")
    functions.create_event_source_mapping(
        EventSourceArn=_queue_arn(cloud, url),
        FunctionName=f"{arn}:live",
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
        ScalingConfig={"MaximumConcurrency": 2},
    )
    for body in ("a", "poison", "b"):
        sqs.send_message(QueueUrl=url, MessageBody=body)
    lost = eventually(lambda: sqs.receive_message(QueueUrl=dead).get("Messages"))
    assert [message["Body"] for message in lost] == ["poison"]
    calls = eventually(lambda: _calls_with(cloud, "feeds", 4))
    assert sorted(body for call in calls for body in call["bodies"]) == ["a", "b", "poison", "poison"]
    assert {call["version"] for call in calls} == {"1"}


def test_an_api_route_runs_an_alias_and_a_protected_one_needs_a_signature(cloud: Cloud) -> None:
    arn = cloud.add_function(
        "routes",
        """
        def handler(event, context):
            caller = event["requestContext"].get("authorizer", {}).get("iam", {}).get("userArn")
            return {"statusCode": 200, "headers": {"x-version": context.function_version},
                    "body": f"{event['routeKey']} {event['rawPath']} {event.get('pathParameters')} {caller}"}
        """,
        Publish=True,
    )
    cloud.client("lambda").create_alias(FunctionName="routes", Name="live", FunctionVersion="1")
    base = add_http_api(cloud, f"{arn}:live", {"GET /images/{id}": "NONE", "DELETE /images/{id}": "AWS_IAM"})

    answer = call(cloud, "GET", f"{base}/images/a%20b")
    assert (answer.status, answer.headers["x-version"]) == (200, "1")
    assert answer.data.decode().startswith("GET /images/{id} /images/a b {'id': 'a b'}")
    assert call(cloud, "GET", f"{base}/unknown").status == 404

    root = boto3.Session(ACCOUNT, "local").get_credentials()
    signed = call(cloud, "DELETE", f"{base}/images/a", root)
    assert (signed.status, signed.data.decode().rsplit(" ", 1)[1]) == (200, f"arn:aws:iam::{ACCOUNT}:root")
    nobody = boto3.Session("AKIANOBODY", "x").get_credentials()
    for refused in (
        call(cloud, "DELETE", f"{base}/images/a"),
        call(cloud, "DELETE", f"{base}/images/a", nobody),
        call(cloud, "DELETE", f"{base}/images/a?X-Amz-Signature=00&X-Amz-Credential={ACCOUNT}"),
    ):
        assert (refused.status, json.loads(refused.data)) == (403, {"message": "Forbidden"})


def test_a_protected_route_asks_the_callers_policy(cloud: Cloud) -> None:
    arn = cloud.add_function("guarded", "def handler(event, context):\n    return {'statusCode': 204}")
    base = add_http_api(cloud, arn, {"DELETE /images/{id}": "AWS_IAM"})
    iam = cloud.client("iam")
    for name, action in (("may", "execute-api:Invoke"), ("may-not", "s3:GetObject")):
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(allow(action)))
    statuses = {
        name: call(cloud, "DELETE", f"{base}/images/a", _user_credentials(cloud, name)).status
        for name in ("may", "may-not")
    }
    assert statuses == {"may": 204, "may-not": 403}
    forged = boto3.Session(_user_credentials(cloud, "may").access_key, "not the secret").get_credentials()
    assert call(cloud, "DELETE", f"{base}/images/a", forged).status == 403


def test_an_url_signed_by_a_role_opens_one_object(cloud: Cloud, bucket: str) -> None:
    for key in STRANGE_KEYS:
        cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=key.encode())
    role = cloud.client("sts").assume_role(
        RoleArn=cloud.add_role(f"reader-{bucket}", allow("s3:GetObject", resource=f"arn:aws:s3:::{bucket}/*")),
        RoleSessionName="test",
    )["Credentials"]
    s3 = cloud.client(
        "s3",
        aws_access_key_id=role["AccessKeyId"],
        aws_secret_access_key=role["SecretAccessKey"],
        aws_session_token=role["SessionToken"],
    )
    for key in STRANGE_KEYS:
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
        answer = call(cloud, "GET", url)
        assert (answer.status, answer.data) == (200, key.encode())
    assert call(cloud, "GET", url.replace("X-Amz-Signature=", "X-Amz-Signature=0")).status == 403
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="plain.jpg", Body=b"")


def test_a_permission_on_indexes_alone_allows_to_query_them(cloud: Cloud) -> None:
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName="indexed",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("id", "listing")],
        GlobalSecondaryIndexes=[
            {
                "IndexName": "newest",
                "KeySchema": [{"AttributeName": "listing", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
    )
    dynamodb.put_item(TableName="indexed", Item={"id": {"S": "1"}, "listing": {"S": "images"}})
    cloud.add_function(
        "queries",
        """
        import boto3

        def handler(event, context):
            found = boto3.client("dynamodb").query(
                TableName="indexed", KeyConditionExpression="#k = :v", ExpressionAttributeNames={"#k": event["key"]},
                ExpressionAttributeValues={":v": {"S": event["value"]}}, **event["index"])
            return found["Count"]
        """,
        allow("dynamodb:Query", resource=f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/indexed/index/*"),
    )
    assert cloud.invoke("queries", {"key": "listing", "value": "images", "index": {"IndexName": "newest"}}) == (1, None)
    payload, _ = cloud.invoke("queries", {"key": "id", "value": "1", "index": {}})
    assert "AccessDenied" in payload["errorMessage"]


def test_accounts_do_not_see_each_other(cloud: Cloud, bucket: str) -> None:
    theirs = cloud.client("s3", OTHER_ACCOUNT)
    assert bucket not in [item["Name"] for item in theirs.list_buckets()["Buckets"]]
    with pytest.raises(ClientError, match="AccessDenied"):
        theirs.list_objects_v2(Bucket=bucket)


def _queue_arn(cloud: Cloud, url: str) -> str:
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return str(answer["Attributes"]["QueueArn"])


def _receive(cloud: Cloud, url: str) -> list[dict[str, Any]]:
    sqs = cloud.client("sqs")
    records = []
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        records += json.loads(message["Body"]).get("Records", [])
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return records


def _calls_with(cloud: Cloud, name: str, bodies: int) -> list[dict[str, Any]]:
    """What the function said of its calls, once they held that many messages."""
    try:
        lines = cloud.log_lines(name)
    except ClientError:
        return []
    calls = [json.loads(line) for line in lines if line.startswith("{")]
    return calls if sum(len(call["bodies"]) for call in calls) >= bodies else []


def _user_credentials(cloud: Cloud, name: str) -> Any:
    key = cloud.client("iam").create_access_key(UserName=name)["AccessKey"]
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"]).get_credentials()
