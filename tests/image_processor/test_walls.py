"""What each function loads when it starts, in a fresh process: contracts of import-linter see no dynamic import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What a function of that name gets, as far as its start reads it.
ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769",
    "EVENT_BUS": "images",
    "MAX_RECEIVE_COUNT": "5",
    "PROCESSED_BUCKET": "processed",
    "QUEUE_URLS": "{}",
    "TABLE_NAME": "images",
    "UPLOAD_BUCKET": "uploads",
    "VISIBILITY_TIMEOUT_SECONDS": "360",
}

DECODERS = {"pyvips", "pi_heif", "cffi"}


def loaded(root: Path, statement: str) -> set[str]:
    """Return the modules that a statement loads in a fresh process."""
    code = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(root / "lambda-image/src")}
    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(finished.stdout))


@pytest.mark.parametrize("name", ["http", "queue", "stream"])
def test_function_loads_no_decoder(root: Path, name: str) -> None:
    modules = loaded(root, f"from image_processor.handlers import {name}")
    assert f"image_processor.handlers.{name}" in modules
    assert not modules & DECODERS


@pytest.mark.parametrize("name", ["http", "stream"])
def test_only_the_processor_loads_the_room_that_decodes(root: Path, name: str) -> None:
    modules = loaded(root, f"from image_processor.handlers import {name}")
    assert not {module for module in modules if module.startswith("image_processor.decoder")}


def test_decoding_process_loads_no_client_of_aws(root: Path) -> None:
    modules = loaded(root, "from image_processor.decoder import worker")
    assert "pyvips" in modules
    assert not {module for module in modules if module.partition(".")[0] in {"boto3", "botocore"}}
    assert "image_processor.aws" not in modules


def test_room_that_decodes_reads_no_credentials(root: Path) -> None:
    files = list((root / "lambda-image/src/image_processor/decoder").glob("*.py"))
    assert len(files) > 10
    assert not [file.name for file in files if "AWS_" in file.read_text()]
