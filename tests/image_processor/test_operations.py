"""The image holds the descriptions of those operations only that lambda-image/operations.json names."""

import json
import re
from pathlib import Path

import botocore.session

#: How the package calls its clients.
CLIENTS = {"s3": r"_s3", "dynamodb": r"_dynamodb", "events": r"bridge", "sqs": r"sqs\(\)"}


def test_the_image_describes_the_operations_that_are_called(root: Path) -> None:
    source = "\n".join(file.read_text() for file in (root / "lambda-image/src/image_processor").rglob("*.py"))
    called: dict[str, list[str]] = {}
    for service, name in CLIENTS.items():
        methods = botocore.session.get_session().create_client(service, region_name="eu-west-1").meta
        found = set(re.findall(rf"\b{name}\.([a-z_0-9]+)\(", source))
        found |= set(re.findall(rf"\b{name}\.get_paginator\(\"([a-z_0-9]+)\"", source))
        found |= set(re.findall(rf"\b{name}\.generate_presigned_url\(\"([a-z_0-9]+)\"", source))
        known = methods.method_to_api_mapping
        called[service] = sorted(known[method] for method in found if method in known)
    assert called == json.loads((root / "lambda-image/operations.json").read_text())
