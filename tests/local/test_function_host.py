"""Functions run as real Lambda runtimes, with what was deployed and nothing else."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest

from imagepipe import localcloud
from imagepipe.localcloud import addresses

from .conftest import REGION, Cloud, allow, eventually, sum_of


def test_an_event_makes_the_round_trip(cloud: Cloud) -> None:
    cloud.add_function(
        "echo",
        """
        def handler(event, context):
            return {"event": event, "request": context.aws_request_id, "left": context.get_remaining_time_in_millis()}
        """,
    )
    payload, error = cloud.invoke("echo", {"key": "sömé +'key"})
    assert error is None
    assert payload["event"] == {"key": "sömé +'key"}
    assert payload["request"]
    assert 0 < payload["left"] <= 10_000


def test_the_largest_event_and_answer_pass(cloud: Cloud) -> None:
    cloud.add_function("large", "def handler(event, context):\n    return event")
    event = "x" * 5_900_000
    assert cloud.invoke("large", event) == (event, None)


def test_an_exception_is_a_function_error_in_the_shape_of_lambda(cloud: Cloud) -> None:
    cloud.add_function(
        "raises",
        """
        def handler(event, context):
            raise LookupError("no such thing")
        """,
    )
    payload, error = cloud.invoke("raises")
    assert error == "Unhandled"
    assert payload["errorType"] == "LookupError"
    assert payload["errorMessage"] == "no such thing"
    assert payload["stackTrace"]


def test_a_handler_that_cannot_be_imported_says_so(cloud: Cloud) -> None:
    cloud.add_function("no_import", "import does_not_exist")
    payload, error = cloud.invoke("no_import")
    assert error == "Unhandled"
    assert payload["errorType"] == "Runtime.ImportModuleError"
    assert "does_not_exist" in payload["errorMessage"]


def test_time_is_limited_as_configured(cloud: Cloud) -> None:
    cloud.add_function(
        "sleeps",
        """
        import time

        def handler(event, context):
            time.sleep(event)
            return "rested"
        """,
        Timeout=1,
    )
    payload, error = cloud.invoke("sleeps", 30)
    assert error == "Unhandled"
    assert payload["errorMessage"].endswith("Task timed out after 1.00 seconds")
    assert cloud.invoke("sleeps", 0) == ("rested", None)


def test_memory_is_limited_as_configured(cloud: Cloud) -> None:
    cloud.add_function(
        "eats",
        """
        import time

        def handler(event, context):
            eaten = [bytes(1_000_000) for _ in range(event)] and b"x" * (event * 1_000_000)
            while len(eaten) > 128_000_000:
                time.sleep(0.1)  # until it is killed, or its time is over
            return len(eaten)
        """,
        MemorySize=128,
    )
    payload, error = cloud.invoke("eats", 300)
    assert error == "Unhandled"
    assert payload["errorType"] == "Runtime.OutOfMemory"
    assert "signal: killed" in payload["errorMessage"]
    assert cloud.invoke("eats", 1) == (1_000_000, None)


@pytest.mark.parametrize(
    ("way", "reason"),
    [("os._exit(3)", "exit status 3"), ("os.kill(os.getpid(), 11)", "signal: segmentation fault")],
)
def test_a_crash_is_told_and_the_next_event_gets_a_new_process(cloud: Cloud, way: str, reason: str) -> None:
    name = f"crashes_{reason.replace(' ', '_').replace(':', '')}"
    cloud.add_function(
        name,
        f"""
        import os

        def handler(event, context):
            if event == "crash":
                {way}
            return os.getpid()
        """,
    )
    first, _ = cloud.invoke(name)
    payload, error = cloud.invoke(name, "crash")
    assert error == "Unhandled"
    assert payload["errorMessage"].endswith(reason)
    assert cloud.invoke(name)[0] != first


def test_a_warm_process_is_used_again_and_concurrent_events_get_processes_of_their_own(cloud: Cloud) -> None:
    cloud.add_function(
        "process",
        """
        import os, socket

        def handler(event, context):
            if event:
                socket.create_connection(("127.0.0.1", event)).recv(1)
            return os.getpid()
        """,
    )
    assert cloud.invoke("process", 0) == cloud.invoke("process", 0)
    with addresses.listening_socket() as meeting, ThreadPoolExecutor(4) as threads:
        meeting.settimeout(30)
        calls = [threads.submit(cloud.invoke, "process", meeting.getsockname()[1]) for _ in range(4)]
        for guest in [meeting.accept()[0] for _ in calls]:  # none of them goes before all are there
            guest.close()
        answers = [call.result() for call in calls]
    assert all(error is None for _, error in answers)
    assert len({pid for pid, _ in answers}) == 4


def test_more_concurrent_events_than_processes_wait_and_are_all_answered(cloud: Cloud) -> None:
    cloud.add_function("busy", "import time\ndef handler(event, context):\n    time.sleep(0.05)\n    return event\n")
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda number: cloud.invoke("busy", number), range(40)))
    assert answers == [(number, None) for number in range(40)]


def test_no_connection_stays_half_open(cloud: Cloud) -> None:
    """The emulator makes a connection for each event; an afternoon's would use up what a process may have open."""
    cloud.add_function("many", "def handler(event, context):\n    return event\n")
    for number in range(10):
        cloud.invoke("many", number)
    host = psutil.Process(localcloud.status(cloud.root).pids["host"])
    eventually(
        lambda: (
            not [
                connection for connection in host.net_connections("tcp") if connection.status == psutil.CONN_CLOSE_WAIT
            ]
        )
    )


def test_the_host_keeps_no_connection_to_the_emulator(cloud: Cloud) -> None:
    """The emulator closes a kept one after 75 idle seconds, which left it half open at the host's end."""
    cloud.add_function("brief", "def handler(event, context):\n    print('a line')\n    return event\n")
    cloud.invoke("brief")
    eventually(lambda: _has_logs(cloud, "brief") and cloud.log_lines("brief"))
    host = psutil.Process(localcloud.status(cloud.root).pids["host"])
    port = urlsplit(cloud.local.endpoint).port
    eventually(lambda: not [end for end in host.net_connections("tcp") if end.raddr and end.raddr.port == port])


def test_the_environment_is_the_deployed_one(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "from the shell")
    cloud.add_function(
        "environment",
        """
        import os

        def handler(event, context):
            return dict(os.environ)
        """,
        MemorySize=192,
        Environment={"Variables": {"TABLE_NAME": "images", "AWS_REGIONAL": "own"}},
    )
    result, _ = cloud.invoke("environment")
    assert result["TABLE_NAME"] == "images"
    assert result["_HANDLER"] == "environment.handler"
    assert result["AWS_LAMBDA_FUNCTION_NAME"] == "environment"
    assert result["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"
    assert result["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "192"
    assert result["AWS_LAMBDA_LOG_GROUP_NAME"] == "/aws/lambda/environment"
    assert result["AWS_REGION"] == result["AWS_DEFAULT_REGION"] == REGION
    assert result["AWS_ENDPOINT_URL"] == cloud.local.endpoint
    assert result["AWS_CA_BUNDLE"] == str(cloud.local.ca_bundle)
    assert result["AWS_ACCESS_KEY_ID"].startswith("ASIA")
    ours = {"HOME", "LEAKED", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "VIRTUAL_ENV"}
    assert not ours & result.keys()


def test_a_published_version_keeps_its_configuration_and_an_alias_moves(cloud: Cloud) -> None:
    cloud.add_function(
        "versions",
        """
        import os

        def handler(event, context):
            return os.environ["COLOUR"], context.function_version
        """,
        Environment={"Variables": {"COLOUR": "red"}},
        Publish=True,
    )
    functions = cloud.client("lambda")
    functions.create_alias(FunctionName="versions", Name="live", FunctionVersion="1")
    assert cloud.invoke("versions:live")[0] == ["red", "1"]
    functions.update_function_configuration(FunctionName="versions", Environment={"Variables": {"COLOUR": "blue"}})
    assert cloud.invoke("versions")[0] == ["blue", "$LATEST"]
    assert cloud.invoke("versions:live")[0] == ["red", "1"]
    functions.publish_version(FunctionName="versions")
    functions.update_alias(FunctionName="versions", Name="live", FunctionVersion="2")
    assert cloud.invoke("versions:live")[0] == ["blue", "2"]


def test_a_function_may_do_what_its_role_allows_and_nothing_else(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for name in ("open-to-it", "closed-to-it"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.put_object(Bucket=name, Key="a", Body=b"content")
    cloud.add_function(
        "reads",
        """
        import boto3

        def handler(event, context):
            return boto3.client("s3").get_object(Bucket=event, Key="a")["Body"].read().decode()
        """,
        allow("s3:GetObject", resource="arn:aws:s3:::open-to-it/*"),
    )
    assert cloud.invoke("reads", "open-to-it") == ("content", None)
    payload, error = cloud.invoke("reads", "closed-to-it")
    assert error == "Unhandled"
    assert "AccessDenied" in payload["errorMessage"]


def test_a_changed_policy_counts_at_once(cloud: Cloud) -> None:
    table = cloud.client("dynamodb")
    table.create_table(
        TableName="policy-test",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    cloud.add_function(
        "writes",
        """
        import boto3

        def handler(event, context):
            boto3.client("dynamodb").put_item(TableName="policy-test", Item={"id": {"S": "a"}})
        """,
        allow("dynamodb:PutItem"),
    )
    assert cloud.invoke("writes") == (None, None)
    cloud.client("iam").delete_role_policy(RoleName="writes", PolicyName="own")
    assert "AccessDenied" in cloud.invoke("writes")[0]["errorMessage"]


def test_what_a_function_writes_is_in_its_log_group(cloud: Cloud) -> None:
    cloud.add_function(
        "talks",
        """
        import sys

        def handler(event, context):
            print("to stdout")
            print("to stderr", file=sys.stderr)
        """,
    )
    cloud.invoke("talks")
    lines = eventually(lambda: [line for line in cloud.log_lines("talks") if line] if _has_logs(cloud, "talks") else [])
    assert "to stdout" in lines
    assert "to stderr" in lines
    assert [line.split()[0] for line in lines if line.split()[0].isupper()] == ["START", "END", "REPORT"]
    assert "Max Memory Used" in lines[-1]
    assert "to stdout" in (cloud.root / ".local/logs/functions.log").read_text()


def test_without_the_permission_there_are_no_logs(cloud: Cloud) -> None:
    cloud.client("logs").create_log_group(logGroupName="/aws/lambda/silent")
    cloud.add_function("silent", "def handler(event, context):\n    print('unheard')", allow("s3:GetObject"))
    cloud.invoke("silent")
    eventually(lambda: "silent logs not sent" in (cloud.root / ".local/logs/functions.log").read_text())
    assert cloud.log_lines("silent") == []


def test_metrics_inside_log_lines_arrive_in_cloudwatch(cloud: Cloud) -> None:
    cloud.add_function(
        "measures",
        """
        import json, time

        def handler(event, context):
            print(json.dumps({
                "_aws": {
                    "Timestamp": int(time.time() * 1000),
                    "CloudWatchMetrics": [{
                        "Namespace": "image-pipeline-test",
                        "Dimensions": [["service"]],
                        "Metrics": [{"Name": "ImagesProcessed", "Unit": "Count"}, {"Name": "BytesIn", "Unit": "Bytes"}],
                    }],
                },
                "service": "processor",
                "ImagesProcessed": [1, 1],
                "BytesIn": 2048,
            }))
        """,
    )
    cloud.invoke("measures")
    assert eventually(lambda: sum_of(cloud, "image-pipeline-test", "ImagesProcessed", service="processor")) == 2
    assert sum_of(cloud, "image-pipeline-test", "BytesIn", service="processor") == 2048


def test_invocations_and_errors_are_counted(cloud: Cloud) -> None:
    cloud.add_function("counted", "def handler(event, context):\n    return 1 / event")
    cloud.invoke("counted", 1)
    cloud.invoke("counted", 0)
    assert sum_of(cloud, "AWS/Lambda", "Invocations", FunctionName="counted") == 2
    assert sum_of(cloud, "AWS/Lambda", "Errors", FunctionName="counted") == 1


def test_a_function_made_anew_under_its_old_name_runs_as_it_is_now(cloud: Cloud) -> None:
    cloud.add_function("remade", "def handler(event, context):\n    return 'old'")
    assert cloud.invoke("remade") == ("old", None)
    cloud.client("lambda").delete_function(FunctionName="remade")
    cloud.client("iam").delete_role_policy(RoleName="remade", PolicyName="own")
    cloud.client("iam").delete_role(RoleName="remade")
    cloud.add_function("remade", "def handler(event, context):\n    return 'new, and longer'")
    assert cloud.invoke("remade") == ("new, and longer", None)


def test_a_killed_worker_is_replaced(cloud: Cloud) -> None:
    cloud.add_function("killed", "import os\ndef handler(event, context):\n    return os.getpid()")
    first, _ = cloud.invoke("killed")
    assert "awslambdaric" in psutil.Process(first).cmdline()
    os.kill(first, signal.SIGKILL)
    eventually(lambda: not psutil.pid_exists(first))
    second, error = cloud.invoke("killed")
    assert error is None
    assert second != first


def _has_logs(cloud: Cloud, name: str) -> bool:
    groups = cloud.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    return bool(groups) and any("REPORT" in line for line in cloud.log_lines(name))


def test_functions_run_under_a_filter_of_system_calls_like_lambdas(cloud: Cloud) -> None:
    """Lambda refuses `prctl`, so no function there can confine a process by a filter of its own."""
    cloud.add_function(
        "confined",
        """
        import ctypes

        def handler(event, context):
            libc = ctypes.CDLL(None, use_errno=True)
            answer = libc.prctl(38, 1, 0, 0, 0)
            status = open("/proc/self/status").read()
            return {"answer": answer, "errno": ctypes.get_errno(), "filtered": "Seccomp:\t2" in status}
        """,
    )
    assert cloud.invoke("confined") == ({"answer": -1, "errno": 1, "filtered": True}, None)
