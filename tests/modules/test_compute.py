"""compute: functions, roles, event source mapping."""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from image_processor.recipe import Limits, Recipe

from .conftest import ACCOUNT, NAMES, statements
from .harness import Resources

DIGEST = f"sha256:{'5f70bf18' * 8}"
UPLOADS = "arn:aws:s3:::image-pipeline-prod-uploads-333333333333-eu-west-1"
PROCESSED = "arn:aws:s3:::image-pipeline-prod-processed-333333333333-eu-west-1"
BACKFILL = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-backfill"
BUS = "arn:aws:events:eu-west-1:333333333333:event-bus/image-pipeline-prod-images"
QUEUE = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-uploads"
TABLE = "arn:aws:dynamodb:eu-west-1:333333333333:table/image-pipeline-prod-images"
KEY = "arn:aws:kms:eu-west-1:333333333333:key/key-of-prod"

QUEUE_URL = "https://sqs.eu-west-1.amazonaws.com/333333333333/image-pipeline-prod"
STREAM = f"{TABLE}/stream/2026-01-01T00:00:00.000"

STORAGE: dict[str, Any] = {
    "backfill_queue": {"arn": BACKFILL, "url": f"{QUEUE_URL}-backfill"},
    "processed_bucket": {"arn": PROCESSED, "name": PROCESSED.rpartition(":")[2]},
    "queue": {
        "arn": QUEUE,
        "max_receive_count": 4,
        "url": f"{QUEUE_URL}-uploads",
        "visibility_timeout_seconds": 720,
    },
    "table": {
        "arn": TABLE,
        "indexes": ["by-status", "newest"],
        "name": "image-pipeline-prod-images",
        "stream_arn": STREAM,
    },
    "upload_bucket": {"arn": UPLOADS, "name": UPLOADS.rpartition(":")[2]},
}
SETTINGS: dict[str, Any] = {
    "limits": {
        "formats": ["jpeg", "png"],
        "images_per_worker": 50,
        "max_bytes": 20_000_000,
        "max_frames": 100,
        "max_memory_mb": 900,
        "max_metadata_bytes": 1_000_000,
        "max_pixels": 50_000_000,
        "max_pixels_per_byte": 1_000,
        "max_progressive_pixels": 12_000_000,
        "max_seconds": 8,
        "max_side": 16_000,
        "require_confinement": True,
    },
    "recipe": {
        "alpha": [{"effort": 4, "format": "webp", "lossless": True, "quality": 70, "quant_table": 0}],
        "animation": {"effort": 1, "format": "gif", "max_frames": 10, "max_pixels": 1_000_000, "quality": 60},
        "background": "#000000",
        "gps": True,
        "graphic": [{"effort": 1, "format": "jpeg", "lossless": False, "quality": 70, "quant_table": 4}],
        "partial": True,
        "variants": [
            {
                "crop": "focal",
                "fit": "cover",
                "formats": [{"effort": 0, "format": "jpeg", "lossless": False, "quality": 80, "quant_table": 3}],
                "height": 240,
                "name": "card",
                "width": 320,
            }
        ],
        "wide_gamut": True,
    },
}
ROLES = {name: f"arn:aws:iam::{ACCOUNT}:role/image-pipeline-prod-{name}" for name in ("announcer", "api", "processor")}
INPUTS: dict[str, Any] = {
    **NAMES,
    "api": {"memory_mb": 640, "reserved_concurrency": 20, "timeout_seconds": 12, "url_ttl_seconds": 1200},
    "architecture": "x86_64",
    "canary": {"held_versions": {}, "percent": 10},
    "image_uri": f"444444444444.dkr.ecr.eu-west-1.amazonaws.com/image-pipeline/processor@{DIGEST}",
    "log_level": "WARNING",
    "log_retention_days": 90,
    "processor": {
        "backfill_concurrency": 3,
        "batch_size": 6,
        "ephemeral_storage_mb": 1024,
        "maximum_concurrency": 40,
        "memory_mb": 3008,
        "timeout_seconds": 120,
    },
    "role_arns": ROLES,
    "storage": STORAGE,
}
PLANS: dict[str, dict[str, Any]] = {
    "main": INPUTS,
    "held": INPUTS | {"canary": {"held_versions": {"processor": "7"}, "percent": 10}},
    # With all that is optional: a key, a recipe, limits.
    "everything": INPUTS | {"processor": INPUTS["processor"] | SETTINGS, "storage": STORAGE | {"kms_key_arn": KEY}},
}


@pytest.fixture(scope="session")
def compute(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("compute", "main")


@pytest.fixture(scope="session")
def compute_with_everything(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("compute", "everything")


def function(resources: Resources, name: str) -> dict[str, Any]:
    return resources[f'aws_lambda_function.function["{name}"]']


def environment(resources: Resources, name: str) -> dict[str, str]:
    return function(resources, name)["environment"][0]["variables"]


def rights(resources: Resources, name: str) -> dict[str, tuple[list[str], list[str]]]:
    """What a role may do: actions and resources by statement."""
    plan_values = statements(resources[f'aws_iam_role_policy.function["{name}"]']["policy"])
    assert all(statement["Effect"] == "Allow" for statement in plan_values.values())
    return {sid: (statement["Action"], statement["Resource"]) for sid, statement in plan_values.items()}


def test_api_has_executions_that_a_folder_of_images_cannot_use_up(compute: Resources) -> None:
    names = ("announcer", "api", "processor")
    reserved = {name: function(compute, name)["reserved_concurrent_executions"] for name in names}
    assert reserved == {"announcer": -1, "api": 20, "processor": -1}


@pytest.mark.parametrize("name", ["announcer", "api", "processor"])
class TestFunction:
    def test_runs_the_image_by_its_digest(self, compute: Resources, name: str) -> None:
        assert function(compute, name)["function_name"] == f"image-pipeline-prod-{name}"
        assert function(compute, name)["package_type"] == "Image"
        assert function(compute, name)["image_uri"] == INPUTS["image_uri"]
        assert function(compute, name)["architectures"] == ["x86_64"]

    def test_publishes_versions_behind_an_alias(self, compute: Resources, name: str) -> None:
        assert function(compute, name)["publish"] is True
        alias = compute[f'aws_lambda_alias.live["{name}"]']
        assert (alias["name"], alias["function_name"]) == ("live", f"image-pipeline-prod-{name}")

    def test_newest_version_gets_all_calls(self, compute: Resources, name: str) -> None:
        """Which one that is, is known once it is published."""
        alias = compute[f'aws_lambda_alias.live["{name}"]']
        assert "function_version" not in alias
        assert alias["routing_config"] == []

    def test_logs_to_a_group_of_its_own_that_forgets(self, compute: Resources, name: str) -> None:
        group = compute[f'aws_cloudwatch_log_group.function["{name}"]']
        assert (group["name"], group["retention_in_days"]) == (f"/aws/lambda/image-pipeline-prod-{name}", 90)
        assert function(compute, name)["logging_config"][0]["log_group"] == group["name"]
        assert function(compute, name)["logging_config"][0]["log_format"] == "Text"

    def test_knows_its_surroundings(self, compute: Resources, name: str) -> None:
        common = {
            "LOG_LEVEL": "WARNING",
            "METRICS_NAMESPACE": "image-pipeline-prod",
            "SERVICE_NAME": name,
            "PROCESSED_BUCKET": STORAGE["processed_bucket"]["name"],
            "TABLE_NAME": "image-pipeline-prod-images",
            "UPLOAD_BUCKET": STORAGE["upload_bucket"]["name"],
        }
        assert common.items() <= environment(compute, name).items()

    def test_rights_go_to_the_role_of_that_function(self, compute: Resources, name: str) -> None:
        assert function(compute, name)["role"] == ROLES[name]
        assert compute[f'aws_iam_role_policy.function["{name}"]']["role"] == f"image-pipeline-prod-{name}"

    def test_role_writes_its_own_log_only(self, compute: Resources, name: str) -> None:
        group = f"arn:aws:logs:eu-west-1:333333333333:log-group:/aws/lambda/image-pipeline-prod-{name}:*"
        assert rights(compute, name)["WriteLogs"] == (["logs:CreateLogStream", "logs:PutLogEvents"], [group])

    def test_role_uses_the_key_through_the_stores_only(self, compute_with_everything: Resources, name: str) -> None:
        policy = compute_with_everything[f'aws_iam_role_policy.function["{name}"]']["policy"]
        statement = statements(policy)["UseStorageKey"]
        assert statement["Resource"] == [KEY]
        assert "kms:Decrypt" in statement["Action"]
        assert ("kms:GenerateDataKey" in statement["Action"]) == (name == "processor")
        services = ["dynamodb.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "sqs.eu-west-1.amazonaws.com"]
        assert statement["Condition"] == {"StringEquals": {"kms:ViaService": services}}

    def test_role_has_nothing_to_do_with_keys_otherwise(self, compute: Resources, name: str) -> None:
        assert "kms" not in compute[f'aws_iam_role_policy.function["{name}"]']["policy"]


def test_a_held_version_keeps_the_calls_but_for_the_share_of_the_newest(
    planned: Callable[[str, str], Resources],
) -> None:
    """Whose number is known once it is published: then nothing but that decides whether it gets a share."""
    resources = planned("compute", "held")
    held, other = (resources[f'aws_lambda_alias.live["{name}"]'] for name in ("processor", "api"))
    assert held["function_version"] == "7"
    assert "routing_config" not in held
    assert ("function_version" in other, other["routing_config"]) == (False, [])


def test_the_command_decides_which_function_it_is(compute: Resources) -> None:
    commands = {
        name: function(compute, name)["image_config"][0]["command"] for name in ("announcer", "api", "processor")
    }
    assert commands == {
        "announcer": ["image_processor.handlers.stream.announce"],
        "api": ["image_processor.handlers.http.api"],
        "processor": ["image_processor.handlers.queue.process"],
    }


def test_sizes_are_data(compute: Resources) -> None:
    sizes = {
        name: (
            function(compute, name)["memory_size"],
            function(compute, name)["timeout"],
            function(compute, name)["ephemeral_storage"][0]["size"],
        )
        for name in ("announcer", "api", "processor")
    }
    assert sizes == {"announcer": (256, 60, 512), "api": (640, 12, 512), "processor": (3008, 120, 1024)}


def test_processor_knows_its_image_and_its_last_try(compute: Resources) -> None:
    assert environment(compute, "processor")["IMAGE_DIGEST"] == DIGEST
    assert environment(compute, "processor")["MAX_RECEIVE_COUNT"] == "4"


def test_processor_knows_the_queues_that_its_messages_come_from(compute: Resources) -> None:
    urls = {BACKFILL: f"{QUEUE_URL}-backfill", QUEUE: f"{QUEUE_URL}-uploads"}
    assert json.loads(environment(compute, "processor")["QUEUE_URLS"]) == urls


def test_api_signs_addresses_for_as_long_as_asked(compute: Resources) -> None:
    assert environment(compute, "api")["URL_TTL_SECONDS"] == "1200"


def test_recipe_and_limits_stay_the_images_own_unless_set(compute: Resources) -> None:
    assert not {"RECIPE", "LIMITS"} & environment(compute, "processor").keys()


def test_recipe_and_limits_reach_the_processor_in_its_own_words(compute_with_everything: Resources) -> None:
    """Read as the processor reads them; all its fields are given, so that one that is renamed there is missed here."""
    variables = environment(compute_with_everything, "processor")
    recipe = json.loads(json.dumps(asdict(Recipe.parse(variables["RECIPE"]))))
    assert recipe == SETTINGS["recipe"]
    assert json.loads(json.dumps(asdict(Limits.parse(variables["LIMITS"])))) == SETTINGS["limits"]


def test_settings_that_are_not_set_take_no_room_in_the_environment(planned: Callable[[str, str], Resources]) -> None:
    """Nulls within variants and formats were written out, a third of the 4,096 bytes that Lambda takes."""
    resources = planned("compute", "example-recipe")
    text = next(
        values["environment"][0]["variables"]["RECIPE"]
        for address, values in resources.items()
        if address.endswith('aws_lambda_function.function["processor"]')
    )
    assert "null" not in text
    assert len(Recipe.parse(text).variants) == len(json.loads(text)["variants"])


def test_processor_may_do_what_it_does_and_nothing_else(compute: Resources) -> None:
    plan_values = rights(compute, "processor")
    del plan_values["WriteLogs"]
    assert plan_values == {
        "ReceiveEvents": (
            ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
            [BACKFILL, QUEUE],
        ),
        "ReadUploads": (["s3:GetObject", "s3:GetObjectVersion"], [f"{UPLOADS}/*"]),
        "WriteVariants": (["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [f"{PROCESSED}/*"]),
        "ListObjects": (["s3:ListBucket"], [PROCESSED, UPLOADS]),
        "WriteRecords": (["dynamodb:GetItem", "dynamodb:UpdateItem"], [TABLE]),
    }


def test_api_may_do_what_it_does_and_nothing_else(compute: Resources) -> None:
    plan_values = rights(compute, "api")
    del plan_values["WriteLogs"]
    assert plan_values == {
        "ReadRecords": (["dynamodb:GetItem"], [TABLE]),
        "ListRecords": (["dynamodb:Query"], [f"{TABLE}/index/by-status", f"{TABLE}/index/newest"]),
        "SignVariantUrls": (["s3:GetObject"], [f"{PROCESSED}/*"]),
        "RemoveUploads": (["s3:DeleteObject"], [f"{UPLOADS}/*"]),
    }


@pytest.mark.parametrize(("queue", "arn", "concurrency"), [("backfill", BACKFILL, 3), ("uploads", QUEUE, 40)])
def test_queue_feeds_the_alias_and_hears_of_each_message(
    compute: Resources, queue: str, arn: str, concurrency: int
) -> None:
    mapping = compute[f'aws_lambda_event_source_mapping.queue["{queue}"]']
    assert mapping["event_source_arn"] == arn
    assert mapping["batch_size"] == 6
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert mapping["scaling_config"] == [{"maximum_concurrency": concurrency}]


def test_outcomes_and_nothing_else_go_from_the_stream_to_the_announcer(compute: Resources) -> None:
    mapping = compute["aws_lambda_event_source_mapping.records"]
    assert (mapping["event_source_arn"], mapping["starting_position"]) == (STREAM, "TRIM_HORIZON")
    assert mapping["bisect_batch_on_function_error"] is True
    (criteria,) = mapping["filter_criteria"]
    assert [json.loads(item["pattern"]) for item in criteria["filter"]] == [
        {
            "dynamodb": {"NewImage": {"status": {"S": ["DELETED", "FAILED", "READY", "REJECTED"]}}},
            "eventName": ["INSERT", "MODIFY"],
        }
    ]


def test_announcer_may_do_what_it_does_and_nothing_else(compute: Resources) -> None:
    plan_values = rights(compute, "announcer")
    del plan_values["WriteLogs"]
    reading = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]
    assert plan_values == {"ReadStream": (reading, [STREAM]), "PutEvents": (["events:PutEvents"], [BUS])}
