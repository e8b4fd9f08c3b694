"""What clients of S3 cost at a cold start, beside ours: `make bench-clients` → build/bench/clients.json.

Each way runs in turn in the image's own sandbox, a fresh process every time: make the clients, read one item from
DynamoDB, read one object from S3 and write it back. Only botocore and boto3 speak DynamoDB, which decides outcomes;
with every other client of S3 botocore stays and the client comes on top. Wall clock and CPU of the whole process less
those of an empty interpreter in the same sandbox; medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from cold import ACCOUNT, PROCESSED, REGION, TABLE, UPLOADS, prepare
from imagepipe import localcloud
from imagepipe.container import build
from imagepipe.container.layout import Layout
from imagepipe.images import samples
from imagepipe.live.environments import ROOT
from imagepipe.localcloud import sandbox
from imagepipe.localcloud.sandbox import Image

RESULT = ROOT / "build/bench/clients.json"
#: Where a client's packages appear in the sandbox.
PLACE = "/tmp/client"

_OURS = "from image_processor import aws"
_ITEM = f"aws.dynamodb().get_item(TableName={TABLE!r}, Key={{'image_id': {{'S': 'a'}}}})"
_BOTO = f"""
body = s3.get_object(Bucket={UPLOADS!r}, Key="photo.jpg")["Body"].read()
s3.put_object(Bucket={PROCESSED!r}, Key="photo.jpg", Body=body)
"""

#: name → packages on top of the image, program
WAYS: dict[str, tuple[tuple[str, ...], str]] = {
    "empty interpreter": ((), ""),
    "botocore, pruned (ours)": ((), f"{_OURS}\n{_ITEM}\ns3 = aws.s3()\n{_BOTO}"),
    "obstore, and botocore for DynamoDB": (
        ("obstore==0.12.1",),
        f"""
{_OURS}
import os
{_ITEM}
from obstore.store import S3Store
where = dict(region={REGION!r}, endpoint=os.environ["AWS_ENDPOINT_URL"], virtual_hosted_style_request=False)
body = bytes(S3Store({UPLOADS!r}, **where).get("photo.jpg").bytes())
S3Store({PROCESSED!r}, **where).put("photo.jpg", body)
""",
    ),
    "minio, and botocore for DynamoDB": (
        ("minio==7.2.20",),
        f"""
{_OURS}
import io, os
{_ITEM}
from minio import Minio
from minio.credentials import EnvAWSProvider
host = os.environ["AWS_ENDPOINT_URL"].removeprefix("https://")
client = Minio(host, region={REGION!r}, credentials=EnvAWSProvider())
body = client.get_object({UPLOADS!r}, "photo.jpg").read()
client.put_object({PROCESSED!r}, "photo.jpg", io.BytesIO(body), len(body))
""",
    ),
    "boto3, whole": (
        ("boto3==1.43.106",),
        f"""
import boto3
boto3.client("dynamodb").get_item(TableName={TABLE!r}, Key={{'image_id': {{'S': 'a'}}}})
s3 = boto3.client("s3")
{_BOTO}
""",
    ),
}

#: Ends every program: what it took and held.
_TELL = """
import resource, time
print(time.process_time() * 1000, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def command(
    image: Image, program: str, packages: Path, variables: dict[str, str], certificate: Path | None
) -> list[str]:
    """The command line that runs a Python program in the image's sandbox, with a client's packages."""
    everything = {**variables, "PYTHONPATH": f"{PLACE}:{image.variables['PYTHONPATH']}"}
    whole = sandbox.command(image, (), everything, certificate, 512)
    return [*whole[: whole.index("--")], "--bind", str(packages), PLACE, "--", "python", "-c", program]


def install(packages: tuple[str, ...], image: Image, folder: Path) -> None:
    """Wheels for the image's Python and all they need, compiled to byte code as ours is."""
    folder.mkdir()
    if not packages:
        return
    asking = command(image, "import sys; print('%d.%d' % sys.version_info[:2])", folder, {}, None)
    version = subprocess.run(asking, capture_output=True, text=True, check=True).stdout.strip()
    machine = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}[build.native_platform()]
    platforms = [f"--platform=manylinux_{glibc}_{machine}" for glibc in ("2_28", "2_17")]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    options = ["--only-binary=:all:", f"--python-version={version}", f"--target={folder}", *platforms]
    subprocess.run([*pip, *options, *packages], check=True)
    folder.chmod(0o777)
    compiling = f"import compileall; compileall.compile_dir({PLACE!r}, quiet=2)"
    subprocess.run(command(image, compiling, folder, {"PYTHONDONTWRITEBYTECODE": ""}, None), check=True)


def start(image: Image, program: str, packages: Path, variables: dict[str, str], certificate: Path) -> dict[str, float]:
    """Runs a program once.

    Raises:
        RuntimeError: it failed, with what it wrote.
    """
    everything = {**variables, "AWS_CA_BUNDLE": sandbox.CERTIFICATE, "SSL_CERT_FILE": sandbox.CERTIFICATE}
    began = time.perf_counter()
    finished = subprocess.run(
        command(image, program + _TELL, packages, everything, certificate), capture_output=True, text=True, check=False
    )
    wall = time.perf_counter() - began
    if finished.returncode:
        raise RuntimeError(finished.stderr[-3000:])
    cpu, resident = map(float, finished.stdout.split())
    return {"wall_ms": wall * 1000, "cpu_ms": cpu, "resident_mb": resident}


def measure(image: Image, rounds: int, scratch: Path) -> dict[str, dict[str, float]]:
    starts: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for number, (packages, _) in enumerate(WAYS.values()):
        install(packages, image, scratch / str(number))
    cloud = localcloud.up(scratch)
    try:
        variables = cloud.environment(ACCOUNT, REGION)
        prepare(variables, bytes(samples.landscape(1600, 1200, 1).jpegsave_buffer(Q=90)))
        for _ in track(range(rounds + 1), "clients", console=Console(stderr=True)):
            for number, (name, (_, program)) in enumerate(WAYS.items()):
                starts[name].append(start(image, program, scratch / str(number), variables, cloud.ca_bundle))
    finally:
        localcloud.down(scratch)
    found = {
        name: {field: statistics.median(each[field] for each in tries[1:]) for field in tries[0]}
        for name, tries in starts.items()  # the first round read the files from disk
    }
    empty = found.pop("empty interpreter")
    for number, values in enumerate(found.values(), start=1):
        files = [file for file in (scratch / str(number)).rglob("*") if file.is_file()]
        for field in ("wall_ms", "cpu_ms"):
            values[field] -= empty[field]
        values["installed_mb"] = sum(file.stat().st_size for file in files) / 1e6
    return {name: {field: round(value, 1) for field, value in values.items()} for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15, help="starts of each way (default: 15)")
    rounds = parser.parse_args().rounds
    build.image(build.native_platform(), Console(stderr=True).print)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        found = measure(Image.unpack(Layout(build.IMAGE), scratch / "image"), rounds, scratch)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps({"rounds": rounds, "ways": found}, indent=2) + "\n")
    ours = next(iter(found.values()))
    shown = Table(title=f"clients of S3 at a cold start, medians of {rounds}; × ours", title_justify="left")
    for column in ("", *ours):
        shown.add_column(column, justify="left" if not column else "right")
    for name, values in found.items():
        ratios = {field: f" ({values[field] / ours[field]:.2f})" if ours[field] else "" for field in ours}
        shown.add_row(name, *(f"{value:,}{ratios[field]}" for field, value in values.items()))
    Console().print(shown)


if __name__ == "__main__":
    main()
