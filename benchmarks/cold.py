"""How fast the image starts, beside the image that people write by hand: `make bench-cold` → build/bench/cold.json.

Both images run in turn in the same sandbox under the Lambda Runtime API, against the same local cloud, and take
the same first event: a photograph that was never there before. The memory size in their environment buys as many
vCPUs as this machine has: the peer uses all cores anyway, ours as many as the memory buys. Times are wall clock,
medians of the rounds; CPU is that of the whole process.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from image_processor.handlers.queue import MB_PER_VCPU
from imagepipe import localcloud
from imagepipe.container import build
from imagepipe.container.layout import Layout
from imagepipe.images import samples
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import function_filter, sandbox
from imagepipe.localcloud.sandbox import Image

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCOUNT, REGION = "111111111111", "eu-west-1"
UPLOADS, PROCESSED, TABLE = "bench-uploads", "bench-processed", "bench"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:bench"
RESULT = ROOT / "build/bench/cold.json"
MEMORY_MB = min(10_240, MB_PER_VCPU * (os.cpu_count() or 1))
NAIVE = Path(__file__).parent / "naive"

#: What the issue of a quick start asks for: ours as a share of the naive image's.
GOALS = {"ready_ms": 0.40, "first_result_ms": 0.50, "compressed_above_base": 0.45}


@dataclass(frozen=True)
class Start:
    """One cold start. Times in milliseconds since the process was started, memory in MB."""

    ready_ms: float
    first_result_ms: float
    cpu_ms: float
    resident_mb: float


class RuntimeApi(ThreadingHTTPServer):
    """Serves one event to one process and notes when it came for it and when it answered."""

    daemon_threads = True

    def __init__(self, event: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.event = event
        self.requested, self.answered = threading.Event(), threading.Event()
        self.ready_at = self.answered_at = 0.0
        self.answer = b""

    def handle_error(self, *_: Any) -> None:
        """Say nothing: a process that was ended leaves its last request unanswered, as expected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RuntimeApi

    def do_GET(self) -> None:
        if self.server.requested.is_set():
            threading.Event().wait()  # there is no second event
        self.server.ready_at = time.perf_counter()
        self.server.requested.set()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": "r1",
            "Lambda-Runtime-Deadline-Ms": str(int(time.time() + 60) * 1000),
        }
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:bench"
        self._answer(200, self.server.event, {**headers, "Lambda-Runtime-Invoked-Function-Arn": arn})

    def do_POST(self) -> None:
        self.server.answer = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.answered_at = time.perf_counter()
        self._answer(202, b"{}", {})
        self.server.answered.set()

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def start(image: Image, variables: dict[str, str], certificate: Path, event: bytes) -> Start:
    """Starts an image once and gives it one event.

    Raises:
        RuntimeError: it does not answer, or answers with a failure; with what it wrote.
    """
    api = RuntimeApi(event)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    everything = {
        **variables,
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
        "AWS_CA_BUNDLE": sandbox.CERTIFICATE,
        "_HANDLER": image.command(())[-1],
    }
    with tempfile.TemporaryFile() as written, function_filter.opened() as descriptor:
        began = time.perf_counter()
        process = subprocess.Popen(
            sandbox.command(image, (), everything, certificate, 512, descriptor),
            stdout=written,
            stderr=subprocess.STDOUT,
            pass_fds=(descriptor,),
        )
        try:
            if not api.answered.wait(60) or json.loads(api.answer) != {"batchItemFailures": []}:
                written.seek(0)
                raise RuntimeError(f"{api.answer.decode()}\n{written.read().decode()[-3000:]}")
            tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            cpu = sum(sum(process.cpu_times()[:2]) for process in tree) * 1000
            resident = sum(process.memory_info().rss for process in tree) / 1024 / 1024
        finally:
            process.kill()
            process.wait()
            api.shutdown()
            api.server_close()
    return Start((api.ready_at - began) * 1000, (api.answered_at - began) * 1000, cpu, resident)


def message(key: str, number: int, size: int) -> bytes:
    """One SQS message that announces one object."""
    details = {"key": key, "sequencer": f"{number:032X}", "size": size}
    time_text = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    record = {
        "eventName": "ObjectCreated:Put",
        "eventTime": time_text,
        "s3": {"bucket": {"name": UPLOADS}, "object": details},
    }
    body = json.dumps({"Records": [record]})
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:bench"
    attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "0"}
    fields = {"messageId": "m", "receiptHandle": "h", "body": body, "attributes": attributes, "eventSourceARN": arn}
    return json.dumps(
        {"Records": [{**fields, "messageAttributes": {}, "eventSource": "aws:sqs", "awsRegion": REGION}]}
    ).encode()


def prepare(clients: dict[str, str]) -> "S3Client":
    """What Terraform would have made."""
    options = {"endpoint_url": clients["AWS_ENDPOINT_URL"], "verify": clients["AWS_CA_BUNDLE"], "region_name": REGION}
    session = boto3.Session(ACCOUNT, "local")
    s3, dynamodb = session.client("s3", **options), session.client("dynamodb", **options)  # type: ignore[call-overload]
    for bucket in (UPLOADS, PROCESSED):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    dynamodb.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "image_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "image_id", "AttributeType": "S"}],
    )
    return s3


def measure(images: dict[str, Image], rounds: int) -> dict[str, list[Start]]:
    starts: dict[str, list[Start]] = {name: [] for name in images}
    with tempfile.TemporaryDirectory() as folder:
        cloud = localcloud.up(Path(folder))
        try:
            variables = cloud.environment(ACCOUNT, REGION)
            s3 = prepare(variables)
            variables |= {
                "TABLE_NAME": TABLE,
                "UPLOAD_BUCKET": UPLOADS,
                "PROCESSED_BUCKET": PROCESSED,
                "LANG": "C.UTF-8",
            }
            variables |= {"AWS_LAMBDA_FUNCTION_NAME": "bench", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB)}
            variables |= {"POWERTOOLS_TRACE_DISABLED": "true"}
            variables |= {"QUEUE_URLS": json.dumps({QUEUE: f"{variables['AWS_ENDPOINT_URL']}/{ACCOUNT}/bench"})}
            variables |= {"MAX_RECEIVE_COUNT": "5", "VISIBILITY_TIMEOUT_SECONDS": "360"}
            for number in track(range(rounds + 1), "cold starts", console=Console(stderr=True)):
                key, photo = f"photo-{number}.jpg", bytes(samples.landscape(1600, 1200, number).jpegsave_buffer(Q=90))
                s3.put_object(Bucket=UPLOADS, Key=key, Body=photo)
                for name, image in images.items():
                    measured = start(image, variables, cloud.ca_bundle, message(key, number, len(photo)))
                    starts[name].append(measured)
        finally:
            localcloud.down(Path(folder))
    return {name: runs[1:] for name, runs in starts.items()}  # the first read the files from disk


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="cold starts of each image (default: 15)")
    rounds = parser.parse_args().rounds
    console = Console(stderr=True)
    platform = build.native_platform()
    build.image(platform, lambda line: console.print(f"[dim]{line}"))
    with console.status("building the naive image"):
        naive, base = build.peer(NAIVE, platform, ROOT / "build/naive")
    layouts = {"ours": Layout(build.IMAGE), "naive": naive}
    result: dict[str, Any] = {"rounds": rounds, "platform": platform, "base": asdict(base) | {"diff_ids": None}}
    with tempfile.TemporaryDirectory() as folder:
        images = {}
        for name, layout in layouts.items():
            layout.unpack(Path(folder) / name)
            images[name] = Image(Path(folder) / name, layout.config)
            files = sum(1 for file in (Path(folder) / name).rglob("*") if file.is_file())
            result[name] = {**layout.size(base.diff_ids), "files": files}
        starts = measure(images, rounds)
    for name, runs in starts.items():
        for field in Start.__dataclass_fields__:
            result[name][field] = round(statistics.median(getattr(run, field) for run in runs), 1)
    result["ratios"] = {key: round(value / result["naive"][key], 3) for key, value in result["ours"].items()}
    result["goals"] = GOALS
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    Console().print(table(result))


def table(result: dict[str, Any]) -> Table:
    shown = Table(title=f"cold start, medians of {result['rounds']}", title_justify="left")
    for column in ("", "naive", "ours", "ours ÷ naive", "goal"):
        shown.add_column(column, justify="left" if not column else "right")
    for key in result["ours"]:
        goal = f"≤ {GOALS[key]:.2f}" if key in GOALS else ""
        values = [f"{result[name][key]:,}" for name in ("naive", "ours")]
        shown.add_row(key, *values, f"{result['ratios'][key]:.2f}", goal)
    return shown


if __name__ == "__main__":
    main()
