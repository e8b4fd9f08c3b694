"""The local cloud starts, stops, comes back, and stays within its clone and this machine."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from imagepipe import localcloud
from imagepipe.localcloud import certificate
from imagepipe.localcloud.process import Detached

from .conftest import ACCOUNT, OTHER_ACCOUNT, REGION, Cloud, eventually

Start = Callable[[str], Cloud]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the local cloud of a clone by its folder's name; stops all of them at the end."""
    roots = set()

    def up(name: str = "clone") -> Cloud:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        roots.add(root)
        return Cloud(root, localcloud.up(root))

    yield up
    for root in roots:
        localcloud.down(root)


def test_up_is_idempotent_and_down_ends_it(start: Start) -> None:
    cloud = start("clone")
    first = localcloud.status(cloud.root)
    assert first.running
    assert first.endpoint == cloud.local.endpoint
    assert first.pids.keys() == {"server", "host"}
    assert start("clone") == cloud
    assert localcloud.status(cloud.root).pids == first.pids
    localcloud.down(cloud.root)
    stopped = localcloud.status(cloud.root)
    assert not stopped.running
    assert stopped.endpoint is None
    assert not any(_runs(pid) for pid in first.pids.values())
    localcloud.down(cloud.root)


def test_two_commands_that_start_it_at_once_start_one(start: Start, tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    root = str(tmp_path / "clone")
    code = f"import pathlib; from imagepipe import localcloud; print(localcloud.up(pathlib.Path({root!r})))"
    command = [sys.executable, "-c", code]
    commands = [subprocess.Popen(command, env=_environment(), stdout=subprocess.PIPE) for _ in range(3)]
    said = {command.communicate(timeout=60)[0] for command in commands}
    assert len(said) == 1
    assert b"https://127.0.0.1" in said.pop()
    assert start("clone")


def test_what_it_holds_survives_a_restart(start: Start) -> None:
    cloud = start("clone")
    _put_something_everywhere(cloud)
    cloud.add_function("kept", "def handler(event, context):\n    return 'here'")
    localcloud.down(cloud.root)
    again = start("clone")
    assert again.local == cloud.local
    _assert_everything_is_there(again)
    assert again.invoke("kept") == ("here", None)


def test_it_comes_back_from_being_killed(start: Start) -> None:
    cloud = start("clone")
    _put_something_everywhere(cloud)
    cloud.add_function("kept", "import os\ndef handler(event, context):\n    return os.getpid()")
    worker, _ = cloud.invoke("kept")
    state = cloud.root / ".local/state"
    eventually(lambda: '"kept"' in _text(state / "lambda.json").replace("'", '"'))
    for pid in localcloud.status(cloud.root).pids.values():
        os.kill(pid, signal.SIGKILL)
    again = start("clone")
    assert not _runs(worker)
    _assert_everything_is_there(again)
    answer, error = again.invoke("kept")
    assert error is None
    assert answer != worker


def test_a_host_that_died_alone_is_replaced(start: Start) -> None:
    cloud = start("clone")
    os.kill(localcloud.status(cloud.root).pids["host"], signal.SIGKILL)
    assert not localcloud.status(cloud.root).running
    again = start("clone")
    again.add_function("echo", "def handler(event, context):\n    return event")
    assert again.invoke("echo", "hello") == ("hello", None)


def test_down_does_not_wait_for_clients_that_keep_their_connection(start: Start) -> None:
    cloud = start("clone")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="kept", CreateBucketConfiguration={"LocationConstraint": REGION})
    localcloud.down(cloud.root)
    assert "MiniStack shutting down" in (cloud.root / ".local/logs/server.log").read_text()
    assert "kept" in _text(cloud.root / ".local/state/s3.json")
    assert [bucket["Name"] for bucket in start("clone").client("s3").list_buckets()["Buckets"]] == ["kept"]


def test_a_record_of_a_process_that_is_someone_elses_by_now_is_ignored(tmp_path: Path) -> None:
    record = tmp_path / "server.json"
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        record.write_text(f'{{"pid": {stranger.pid}, "began": 1000.0, "port": 1, "fingerprint": ""}}')
        process = Detached("server", record, tmp_path / "server.log")
        assert process.process() is None
        process.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_an_occupied_port_is_named_with_the_fix(start: Start) -> None:
    cloud = start("clone")
    port = int(cloud.local.endpoint.rsplit(":", 1)[1])
    localcloud.down(cloud.root)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(localcloud.LocalCloudError) as refusal:
            start("clone")
    message = str(refusal.value)
    assert str(port) in message
    assert f"process {os.getpid()}" in message
    assert "try again" in message
    assert start("clone").local == cloud.local


def test_a_first_start_passes_by_occupied_ports(start: Start) -> None:
    cloud = start("clone")
    port = int(cloud.local.endpoint.rsplit(":", 1)[1])
    localcloud.down(cloud.root)
    (cloud.root / ".local/addresses.json").unlink()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert start("clone").local.endpoint == f"https://127.0.0.1:{port + 1}"


def test_a_process_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('odd')"]
    monkeypatch.setattr("imagepipe.localcloud.server.command", lambda: failing)
    with pytest.raises(localcloud.LocalCloudError, match=r"server did not start[\s\S]*odd"):
        localcloud.up(tmp_path)
    assert not localcloud.status(tmp_path).pids


def test_nothing_listens_beyond_loopback(start: Start) -> None:
    cloud = start("clone")
    cloud.add_function("echo", "def handler(event, context):\n    return event")
    cloud.invoke("echo")
    processes = [psutil.Process(pid) for pid in localcloud.status(cloud.root).pids.values()]
    processes += [child for item in processes for child in item.children(recursive=True)]
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert len(listening) == 3, "server, host, and the runtime API of one worker"
    assert 443 not in {address.port for address in listening}


def test_two_clones_live_side_by_side(start: Start) -> None:
    one, two = start("one"), start("two")
    assert one.local.endpoint != two.local.endpoint
    one.client("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": REGION})
    assert two.client("s3").list_buckets()["Buckets"] == []
    localcloud.down(one.root)
    assert two.client("s3").list_buckets()["Buckets"] == []


def test_the_certificate_is_no_authority_and_is_kept(tmp_path: Path) -> None:
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.ensure(*files)
    made = files[0].read_bytes()
    assert files[1].stat().st_mode & 0o077 == 0
    own, authority = x509.load_pem_x509_certificates(made)
    assert not own.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    key = serialization.load_pem_private_key(files[1].read_bytes(), None)
    assert own.public_key() == key.public_key()
    assert authority.public_key() != key.public_key(), "who has the key could issue certificates"
    assert sorted(tmp_path.iterdir()) == sorted(files)
    certificate.ensure(*files)
    assert files[0].read_bytes() == made


@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("a1b2c3.execute-api.localhost", True),
        ("example.com", False),
    ],
)
def test_the_certificate_is_for_loopback_names_only(tmp_path: Path, name: str, trusted: bool) -> None:
    files = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate.ensure(*files)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(*files)
    trusting = ssl.create_default_context(cafile=str(files[0]))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # the default of Python 3.13
    assert handshake(serving, trusting, name) == trusted


def handshake(serving: ssl.SSLContext, trusting: ssl.SSLContext, name: str) -> bool:
    """Whether a client that asks for a name accepts what the server shows."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = serving.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_logs_show_what_functions_wrote(start: Start, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(localcloud.LocalCloudError, match="make up"):
        localcloud.logs(tmp_path, follow=False)
    cloud = start("clone")
    cloud.add_function("talks", "def handler(event, context):\n    print('good morning')")
    cloud.invoke("talks")
    eventually(lambda: "good morning" in _text(cloud.root / ".local/logs/functions.log"))
    localcloud.logs(cloud.root, follow=False)
    assert "talks[$LATEST] good morning" in capfd.readouterr().out


def test_status_tells_the_accounts_that_hold_something(start: Start) -> None:
    cloud = start("clone")
    for account in (ACCOUNT, OTHER_ACCOUNT):
        cloud.client("s3", account).create_bucket(
            Bucket=f"of-{account}", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    assert localcloud.status(cloud.root).accounts == [ACCOUNT, OTHER_ACCOUNT]


def _put_something_everywhere(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="things", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket="things", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"second"):
        s3.put_object(Bucket="things", Key="a b+c", Body=body, ContentType="text/plain")
    sqs = cloud.client("sqs")
    sqs.send_message(QueueUrl=sqs.create_queue(QueueName="waiting")["QueueUrl"], MessageBody="unread")
    dynamodb = cloud.client("dynamodb")
    dynamodb.create_table(
        TableName="images",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    dynamodb.put_item(TableName="images", Item={"id": {"S": "1"}})


def _assert_everything_is_there(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    stored = s3.get_object(Bucket="things", Key="a b+c")
    assert (stored["Body"].read(), stored["ContentType"]) == (b"second", "text/plain")
    assert s3.get_bucket_versioning(Bucket="things")["Status"] == "Enabled"
    assert len(s3.list_object_versions(Bucket="things")["Versions"]) == 2
    sqs = cloud.client("sqs")
    messages = sqs.receive_message(QueueUrl=sqs.get_queue_url(QueueName="waiting")["QueueUrl"])["Messages"]
    assert [message["Body"] for message in messages] == ["unread"]
    assert cloud.client("dynamodb").get_item(TableName="images", Key={"id": {"S": "1"}})["Item"]


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def _text(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
