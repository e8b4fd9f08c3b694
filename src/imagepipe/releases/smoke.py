"""A smoke test: an image goes through a deployed environment, comes back by the API and is removed."""

import secrets
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from imagepipe.console import progress
from imagepipe.errors import PipelineError
from imagepipe.images import samples
from imagepipe.images.api_client import Record
from imagepipe.images.pipeline import Pipeline

#: Prefix of the keys that smoke tests write. They touch no other key.
PREFIX = "smoke/"

#: Seconds to wait for the image, and for its removal. A cold function in a new account takes about ten.
PATIENCE = 120

SIZE = (960, 640)


class WrongResult(PipelineError):
    """An image came to an end, and it is the wrong one."""


def test(pipeline: Pipeline, inspect: Callable[[Record], None]) -> float:
    """Run `send` with a progress bar."""
    with progress() as bar:
        task = bar.add_task("smoke", total=4)
        return send(pipeline, lambda: bar.advance(task), inspect)


def send(pipeline: Pipeline, done: Callable[[], None], inspect: Callable[[Record], None] = lambda _: None) -> float:
    """Send an image through, read it back by the API and remove it.

    Args:
        done: called after each of the four steps.
        inspect: called with the record of the image before it is removed.

    Returns:
        Seconds from upload to removal.

    Raises:
        WrongResult: the image was processed, and the outcome is wrong.
        PipelineError: another step failed; the message names it. The uploaded image is tagged as test data, and
            expires.
    """
    started = time.monotonic()
    key = f"{PREFIX}{uuid.uuid4()}.jpg"
    with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
        file = Path(folder) / "smoke.jpg"
        # A random picture: one with known content would only be linked, and no variant made.
        file.write_bytes(samples.landscape(*SIZE, seed=secrets.randbelow(1_000_000)).jpegsave_buffer(Q=85))
        uploads = pipeline.uploader(test_data=True).upload({key: file}, lambda _: done())
        record = pipeline.wait(uploads, PATIENCE, lambda *_: done()).get(key)
        if record is None:
            raise PipelineError(
                f"{key} was uploaded and had no final record after {PATIENCE} s: imagepipe failures shows why"
            )
        _look(pipeline, record)
        inspect(record)
        done()
        pipeline.api.remove(record["image_id"])
        _wait_until_gone(pipeline, record["image_id"])
        done()
    return time.monotonic() - started


def _look(pipeline: Pipeline, record: Record) -> None:
    if record["status"] != "READY":
        raise WrongResult(f"the image became {record['status']}: {(record.get('reason') or {}).get('message')}")
    if (record["source"]["width"], record["source"]["height"]) != SIZE:
        raise WrongResult(f"the record says {record['source']['width']} × {record['source']['height']}, not {SIZE}")
    for name, variant in record["variants"].items():
        content = pipeline.api.variant(record["image_id"], name)
        if len(content) != variant["bytes"]:
            raise WrongResult(f"variant {name} has {len(content)} bytes, and the record says {variant['bytes']}")


def _wait_until_gone(pipeline: Pipeline, image_id: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (record := pipeline.api.image(image_id)) is not None:
        if time.monotonic() > deadline:
            raise PipelineError(
                f"image {image_id} was removed by the API and is still {record['status']}: imagepipe failures shows why"
            )
        time.sleep(0.3)
