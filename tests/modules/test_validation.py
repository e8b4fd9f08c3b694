"""What the modules refuse, and what they say. Terraform judges variables by itself, so no provider is started here."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from . import test_api, test_ci_access, test_compute, test_monitoring, test_registry, test_storage
from .conftest import MODULES, errors

INPUTS: dict[str, dict[str, Any]] = {
    "api": test_api.INPUTS,
    "ci-access": test_ci_access.INPUTS,
    "compute": test_compute.INPUTS,
    "monitoring": test_monitoring.INPUTS,
    "registry": test_registry.INPUTS,
    "storage": test_storage.INPUTS,
}

IMAGE: str = test_compute.INPUTS["image_uri"]


def variant(**fields: Any) -> dict[str, Any]:
    """A recipe of one variant that is right but for the given fields."""
    return {"variants": [{"width": 64, "formats": [{"format": "jpeg"}]} | fields]}


#: Module, variable (or its field, after a dot), a value that is wrong, and what the message must say.
REFUSED: list[tuple[str, str, Any, str]] = [
    *(
        (module, variable, value, message)
        for module in ("api", "ci-access", "compute", "monitoring", "storage")
        for variable, value, message in [
            ("account_id", "12345", "account_id must be 12 digits, not '12345'"),
            ("name_prefix", "Image_Pipeline", "3 to 40 lower-case letters, digits and hyphens"),
            ("region", "Ireland", "region must be a region's code, like eu-west-1, not 'Ireland'"),
        ]
    ),
    ("api", "cors.allow_origins", ["https://example.com/gallery"], "origins without a path"),
    ("api", "cors.allow_methods", ["get"], "HTTP methods in capitals"),
    ("api", "cors.max_age_seconds", 86401, "from 0 to 86400 (a day), not 86401"),
    ("api", "function.alias", "canary", "must be the one of the alias and end in :canary/invocations"),
    ("api", "log_retention_days", 10, "a number of days that CloudWatch knows"),
    ("api", "throttling.burst_limit", 0, "burst_limit must be from 1 to 5000 and rate_limit from 1 to 10000, not 0"),
    ("ci-access", "environment", "Prod", "environment must be 2 to 31 lower-case letters, digits and hyphens"),
    ("ci-access", "github.repository", "acme/*", "like owner/name, without patterns, not 'acme/*'"),
    ("ci-access", "github.owner_id", "acme", "github.repository_id must be numbers"),
    ("ci-access", "github.owner_id", None, "github.repository_id go together"),
    ("ci-access", "registry.account_id", "shared", "an account of 12 digits and the name of a repository"),
    ("ci-access", "state.prefix", "live/*", "a prefix without * or a slash at its end"),
    ("compute", "api.memory_mb", 64, "api.memory_mb must be from 128 to 10240, not 64"),
    ("compute", "api.timeout_seconds", 30, "api.timeout_seconds must be from 1 to 29"),
    ("compute", "api.url_ttl_seconds", 7200, "api.url_ttl_seconds must be from 60 to 3600 (an hour), not 7200"),
    ("compute", "architecture", "amd64", "architecture must be arm64 or x86_64, not 'amd64'"),
    ("compute", "canary.held_versions", {"resizer": "3"}, 'published version, a number, not {"resizer":"3"}'),
    ("compute", "canary.held_versions", {"api": "$LATEST"}, 'a published version, a number, not {"api":"$LATEST"}'),
    ("compute", "canary.percent", 0, "canary.percent must be from 1 to 50, not 0"),
    ("compute", "canary.percent", 51, "canary.percent must be from 1 to 50, not 51"),
    ("compute", "image_platform", "windows/amd64", "or linux/arm64, or empty, not 'windows/amd64'"),
    ("compute", "image_uri", IMAGE.split("@")[0] + ":latest", "Run `make build` to get one"),
    ("compute", "image_uri", IMAGE.replace("eu-west-1", "us-east-1"), "must be in eu-west-1"),
    ("compute", "log_level", "TRACE", "log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not 'TRACE'"),
    ("compute", "log_retention_days", 10, "a number of days that CloudWatch knows"),
    ("compute", "permissions_boundary_arn", "boundary", "must be the ARN of a policy, or empty, not 'boundary'"),
    ("compute", "processor.backfill_concurrency", 1, "processor.backfill_concurrency must be from 2 to 1000, not 1"),
    ("compute", "processor.batch_size", 11, "processor.batch_size must be from 1 to 10, not 11"),
    ("compute", "processor.ephemeral_storage_mb", 256, "from 512 to 10240, not 256"),
    ("compute", "processor.limits", {"max_side": 65536}, "max_side to 65535, the others"),
    ("compute", "processor.limits", {"max_memory_mb": 63}, "max_memory_mb: 64"),
    ("compute", "processor.limits", {"formats": ["bmp"]}, "some of avif, gif, heic"),
    ("compute", "processor.limits", {"formats": []}, "some of avif, gif, heic"),
    ("compute", "processor.limits", {"max_bytes": 0}, "max_bytes to 5368709120"),
    ("compute", "processor.recipe", {"background": "white"}, "a colour like #ffffff, not \"white\""),
    ("compute", "processor.recipe", variant(formats=[{"format": "gif"}]), "formats must be avif, jpeg, png or webp"),
    ("compute", "processor.recipe", variant(formats=[{"format": "jpeg", "quality": 101}]), "quality from 1 to 100"),
    ("compute", "processor.recipe", variant(formats=[{"format": "webp", "effort": 7}]), "(webp 6, jpeg 1)"),
    ("compute", "processor.recipe", variant(formats=[{"format": "webp", "quant_table": 3}]), "for jpeg only"),
    ("compute", "processor.recipe", variant(formats=[{"format": "jpeg", "lossless": True}]), "lossless not for jpeg"),
    ("compute", "processor.recipe", variant(formats=[]), "each once and at least one"),
    ("compute", "processor.recipe", variant(formats=[{"format": "png"}, {"format": "png"}]), "each once"),
    ("compute", "processor.recipe", variant(width=8), "width and height whole numbers from 16 to 8192"),
    ("compute", "processor.recipe", variant(height=9000), "width and height whole numbers from 16 to 8192"),
    ("compute", "processor.recipe", variant(fit="cover"), "the former two with a height"),
    ("compute", "processor.recipe", variant(crop="top"), "crop must be attention, centre or focal"),
    ("compute", "processor.recipe", variant(name="a/b"), "name up to 32 letters a-z and digits"),
    ("compute", "processor.recipe", {"variants": []}, "must be 1 to 32"),
    ("compute", "processor.recipe", {"alpha": [{"format": "gif"}]}, "formats must be avif, jpeg, png or webp"),
    ("compute", "processor.recipe", {"animation": {"format": "avif"}}, "must have a format of gif or webp"),
    ("compute", "processor.recipe", {"animation": {"max_frames": -1}}, "max_frames from 0 to 10000"),
    ("compute", "processor.maximum_concurrency", 1, "from 2 to 1000, not 1"),
    ("compute", "processor.memory_mb", 20480, "processor.memory_mb must be from 128 to 10240, not 20480"),
    ("compute", "processor.timeout_seconds", 901, "processor.timeout_seconds must be from 1 to 900, not 901"),
    ("monitoring", "alarm_emails", ["on-call"], "mail addresses, like on-call@example.com"),
    ("monitoring", "runbook_url", "https://example.com/runbook#top", "an address without '#'"),
    ("monitoring", "thresholds.announcer_age_seconds", 86400, "less than 86400, when the stream forgets, not 86400"),
    ("monitoring", "thresholds.api_latency_ms", 30001, "from 1 to 30000, when API Gateway gives up, not 30001"),
    ("monitoring", "thresholds.processor_duration_share", 80, "between 0 and 1, a share of the timeout, not 80"),
    ("monitoring", "thresholds.queue_age_seconds", 30, "at least 60, the time between two measurements, not 30"),
    ("registry", "name", "Image Pipeline", "name must be lower-case letters and digits"),
    ("registry", "reader_account_ids", ["111"], "accounts of 12 digits, at least one"),
    ("registry", "untagged_retention_days", 0, "untagged_retention_days must be a whole number of at least 1, not 0"),
    ("storage", "expiry.test_data_days", 0.5, "each number of days must be a whole number of at least 1"),
    ("storage", "name_prefix", "image-pipeline-of-the-second-floor", "at most 63 characters to be a bucket name"),
    ("storage", "queue.visibility_timeout_seconds", 43201, "from 1 to 43200 (12 hours), not 43201"),
    ("storage", "queue.max_receive_count", 3, "queue.max_receive_count must be from 4 to 1000, not 3"),
    ("storage", "queue.dead_letter_retention_days", 15, "messages can be kept from 1 to 14 days, not 5 and 15"),
    ("storage", "queue.dead_letter_retention_days", 5, "must be more than queue.retention_days (5), not 5"),
]  # fmt: skip


@pytest.fixture(scope="session")
def variables_only(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The variables of each module in a folder of their own: nothing to initialise, nothing to wait for."""
    folder = tmp_path_factory.mktemp("variables")
    for module in MODULES:
        (folder / module).mkdir()
        shutil.copy(root / "modules" / module / "variables.tf", folder / module)
    return folder


def changed(inputs: dict[str, Any], variable: str, value: Any) -> dict[str, Any]:
    """The inputs with one variable, or one field of it, set to another value."""
    name, _, field = variable.partition(".")
    return inputs | {name: changed(inputs[name], field, value) if field else value}


@pytest.mark.parametrize(("module", "variable", "value", "message"), REFUSED)
def test_wrong_value_is_refused_with_what_is_expected(
    variables_only: Path, module: str, variable: str, value: Any, message: str
) -> None:
    refusal = errors(variables_only / module, changed(INPUTS[module], variable, value))
    assert message in refusal


@pytest.mark.parametrize("module", MODULES)
def test_no_validation_is_left_out_above(root: Path, module: str) -> None:
    """By the words that each message starts with, up to the first value in it."""
    source = (root / "modules" / module / "variables.tf").read_text()
    validations = re.findall(r'error_message = "((?:[^"\\$]|\\.)+)', source)
    assert len(validations) == source.count("validation {")
    refused = {name.partition(".")[0] for checked, name, _, _ in REFUSED if checked == module}
    named = set(re.findall(r'variable "(\w+)"(?:(?!^\}).)*?validation \{', source, re.MULTILINE | re.DOTALL))
    assert refused == named
    assert len({message for checked, _, _, message in REFUSED if checked == module}) >= len(validations)
