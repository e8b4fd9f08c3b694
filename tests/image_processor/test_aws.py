"""operations.json: all that the functions ask of AWS, since the image's botocore knows nothing else."""

import json
import re
from pathlib import Path

import botocore.session
from botocore import xform_name


def test_every_operation_that_is_called_is_listed_and_nothing_else(root: Path) -> None:
    listed = json.loads((root / "lambda-image/operations.json").read_text())
    session = botocore.session.get_session()
    by_method = {
        xform_name(operation): (service, operation)
        for service in listed
        for operation in session.get_service_model(service).operation_names
    }
    words: set[str] = set()
    for file in (root / "lambda-image/src/image_processor").rglob("*.py"):
        text = file.read_text()
        words |= set(re.findall(r"\.([a-z_0-9]+)\b", text))
        words |= set(re.findall(r"(?:get_paginator|generate_presigned_\w+)\(\s*\"(\w+)\"", text))
    called = {by_method[word] for word in words if word in by_method}
    assert called == {(service, operation) for service, operations in listed.items() for operation in operations}
