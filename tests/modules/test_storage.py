"""storage: buckets, queues, table."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ACCOUNT, NAMES, assert_denies_insecure_transport, statements
from .harness import Resources

INPUTS = {
    **NAMES,
    "expiry": {"incomplete_upload_days": 3, "noncurrent_version_days": 90, "test_data_days": 2},
    "queue": {
        "dead_letter_retention_days": 14,
        "max_receive_count": 4,
        "retention_days": 5,
        "visibility_timeout_seconds": 720,
    },
}
BUCKETS = {
    "processed": "image-pipeline-prod-processed-333333333333-eu-west-1",
    "uploads": "image-pipeline-prod-uploads-333333333333-eu-west-1",
}
BACKFILL_ARN = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-backfill"
QUEUE_ARN = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-uploads"
KEY_ARN = "arn:aws:kms:eu-west-1:333333333333:key/5b1c2f0e-8b54-4a6e-9d6c-6d2c3a1f0e11"
PLANS = {
    "main": INPUTS,
    "with-key": INPUTS | {"kms_key_arn": KEY_ARN, "force_destroy": True, "deletion_protection": False},
}


@pytest.fixture(scope="session")
def storage(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("storage", "main")


@pytest.fixture(scope="session")
def storage_with_key(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("storage", "with-key")


def test_buckets_are_named_after_account_and_region(storage: Resources) -> None:
    names = {purpose: storage[f'aws_s3_bucket.images["{purpose}"]']["bucket"] for purpose in BUCKETS}
    assert names == BUCKETS


@pytest.mark.parametrize("purpose", BUCKETS)
class TestBucket:
    def test_is_closed_to_the_public(self, storage: Resources, purpose: str) -> None:
        block = storage[f'aws_s3_bucket_public_access_block.images["{purpose}"]']
        assert block["bucket"] == BUCKETS[purpose]
        switches = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
        assert all(block[switch] is True for switch in switches)

    def test_belongs_to_its_owner_without_acls(self, storage: Resources, purpose: str) -> None:
        controls = storage[f'aws_s3_bucket_ownership_controls.images["{purpose}"]']
        assert controls["bucket"] == BUCKETS[purpose]
        assert controls["rule"] == [{"object_ownership": "BucketOwnerEnforced"}]

    def test_keeps_versions(self, storage: Resources, purpose: str) -> None:
        versioning = storage[f'aws_s3_bucket_versioning.images["{purpose}"]']
        assert versioning["bucket"] == BUCKETS[purpose]
        assert versioning["versioning_configuration"][0]["status"] == "Enabled"

    def test_is_encrypted(self, storage: Resources, purpose: str) -> None:
        encryption = storage[f'aws_s3_bucket_server_side_encryption_configuration.images["{purpose}"]']
        assert encryption["bucket"] == BUCKETS[purpose]
        default = encryption["rule"][0]["apply_server_side_encryption_by_default"][0]
        assert default["sse_algorithm"] == "AES256"

    def test_speaks_tls_only(self, storage: Resources, purpose: str) -> None:
        policy = storage[f'aws_s3_bucket_policy.images["{purpose}"]']
        assert policy["bucket"] == BUCKETS[purpose]
        arn = f"arn:aws:s3:::{BUCKETS[purpose]}"
        assert_denies_insecure_transport(policy["policy"], "s3:*", arn, f"{arn}/*")
        assert set(statements(policy["policy"])) == {"DenyInsecureTransport"}

    def test_lets_things_expire(self, storage: Resources, purpose: str) -> None:
        lifecycle = storage[f'aws_s3_bucket_lifecycle_configuration.images["{purpose}"]']
        assert lifecycle["bucket"] == BUCKETS[purpose]
        rules = {rule["id"]: rule for rule in lifecycle["rule"]}
        assert all(rule["status"] == "Enabled" for rule in rules.values())
        assert rules.keys() == {
            "abort-incomplete-uploads",
            "expire-noncurrent-versions",
            "remove-expired-delete-markers",
            "expire-test-data",
        }
        abort = rules["abort-incomplete-uploads"]["abort_incomplete_multipart_upload"][0]
        assert abort["days_after_initiation"] == 3
        assert rules["expire-noncurrent-versions"]["noncurrent_version_expiration"][0]["noncurrent_days"] == 90
        assert rules["remove-expired-delete-markers"]["expiration"][0]["expired_object_delete_marker"] is True
        assert rules["expire-test-data"]["expiration"][0]["days"] == 2

    def test_expires_current_images_only_when_they_are_test_data(self, storage: Resources, purpose: str) -> None:
        rules = storage[f'aws_s3_bucket_lifecycle_configuration.images["{purpose}"]']["rule"]
        expiring = [rule for rule in rules if any(expiration.get("days") for expiration in rule["expiration"])]
        assert [rule["filter"][0]["tag"] for rule in expiring] == [[{"key": "purpose", "value": "test-data"}]]

    def test_is_kept_when_it_holds_images(self, storage: Resources, purpose: str) -> None:
        assert storage[f'aws_s3_bucket.images["{purpose}"]']["force_destroy"] is False


def test_settings_of_a_bucket_are_made_one_after_another(root: Path) -> None:
    """S3 answers OperationAborted to a setting that meets another one of the same bucket."""
    text = (root / "modules/storage/buckets.tf").read_text()
    blocks = re.findall(r'^resource "(aws_s3_bucket_\w+)" "\w+" \{\n(.*?)^\}', text, re.MULTILINE | re.DOTALL)
    after = {name: re.findall(r"depends_on = \[(\w+)\.images\]", body) for name, body in blocks}
    order = ["aws_s3_bucket_public_access_block"]
    while following := [name for name, before in after.items() if before == order[-1:] and "notification" not in name]:
        order += following
    notification = "aws_s3_bucket_notification"
    assert sorted([*order, notification]) == sorted(after), "one chain, which nothing is outside of"
    assert order[-1] == "aws_s3_bucket_lifecycle_configuration", "the provider watches it for 55 s"
    # Notification and lifecycle meet only if the queue is made as fast as the settings: it takes the provider 25 s.
    assert after[notification] == order[-2:-1]


def test_creations_and_removals_are_announced(storage: Resources) -> None:
    notification = storage["aws_s3_bucket_notification.uploads"]
    assert notification["bucket"] == BUCKETS["uploads"]
    assert sorted(notification["queue"][0]["events"]) == [
        "s3:LifecycleExpiration:DeleteMarkerCreated",
        "s3:ObjectCreated:*",
        "s3:ObjectRemoved:*",
    ]


def test_only_the_upload_bucket_may_send_to_the_queue(storage: Resources) -> None:
    allowed = statements(storage["aws_sqs_queue.uploads"]["policy"])
    assert allowed.keys() == {"AllowUploadsBucket", "DenyInsecureTransport"}
    assert allowed["AllowUploadsBucket"] == {
        "Sid": "AllowUploadsBucket",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": ["sqs:SendMessage"],
        "Resource": [QUEUE_ARN],
        "Condition": {
            "ArnEquals": {"aws:SourceArn": [f"arn:aws:s3:::{BUCKETS['uploads']}"]},
            "StringEquals": {"aws:SourceAccount": [ACCOUNT]},
        },
    }


def test_backfill_has_a_queue_of_its_own_that_works_like_that_of_uploads(storage: Resources) -> None:
    queue, uploads = storage["aws_sqs_queue.backfill"], storage["aws_sqs_queue.uploads"]
    assert queue["name"] == "image-pipeline-prod-backfill"
    for setting in ("message_retention_seconds", "redrive_policy", "visibility_timeout_seconds"):
        assert queue[setting] == uploads[setting]
    assert queue["sqs_managed_sse_enabled"] is True
    assert statements(queue["policy"]).keys() == {"DenyInsecureTransport"}
    assert_denies_insecure_transport(queue["policy"], "sqs:*", BACKFILL_ARN)


def test_nobody_may_send_to_the_dead_letter_queue(storage: Resources) -> None:
    assert statements(storage["aws_sqs_queue.dead_letters"]["policy"]).keys() == {"DenyInsecureTransport"}


def test_queues_speak_tls_only(storage: Resources) -> None:
    assert_denies_insecure_transport(storage["aws_sqs_queue.uploads"]["policy"], "sqs:*", QUEUE_ARN)
    assert_denies_insecure_transport(storage["aws_sqs_queue.dead_letters"]["policy"], "sqs:*", f"{QUEUE_ARN}-dlq")


def test_queues_are_encrypted(storage: Resources) -> None:
    assert storage["aws_sqs_queue.uploads"]["sqs_managed_sse_enabled"] is True
    assert storage["aws_sqs_queue.dead_letters"]["sqs_managed_sse_enabled"] is True


def test_messages_that_fail_go_to_the_dead_letter_queue_and_stay_longer(storage: Resources) -> None:
    queue, dead_letters = storage["aws_sqs_queue.uploads"], storage["aws_sqs_queue.dead_letters"]
    assert json.loads(queue["redrive_policy"]) == {"deadLetterTargetArn": f"{QUEUE_ARN}-dlq", "maxReceiveCount": 4}
    assert json.loads(dead_letters["redrive_allow_policy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [BACKFILL_ARN, QUEUE_ARN],
    }
    assert queue["message_retention_seconds"] == 5 * 86400
    assert dead_letters["message_retention_seconds"] == 14 * 86400


def test_queue_hides_messages_as_long_as_asked(storage: Resources) -> None:
    assert storage["aws_sqs_queue.uploads"]["visibility_timeout_seconds"] == 720


def test_table_is_paid_per_request_and_survives_mistakes(storage: Resources) -> None:
    table = storage["aws_dynamodb_table.images"]
    assert table["name"] == "image-pipeline-prod-images"
    assert table["billing_mode"] == "PAY_PER_REQUEST"
    assert table["deletion_protection_enabled"] is True
    assert table["point_in_time_recovery"][0]["enabled"] is True


def test_table_has_the_indexes_of_the_api(storage: Resources) -> None:
    table = storage["aws_dynamodb_table.images"]
    assert table["hash_key"] == "image_id"
    assert not table["range_key"]
    indexes = {
        index["name"]: (index["hash_key"], index["range_key"], index["projection_type"])
        for index in table["global_secondary_index"]
    }
    assert indexes == {"newest": ("listing", "listed_at", "ALL"), "by-status": ("status", "listed_at", "ALL")}


def test_table_streams_changes_and_forgets_tombstones(storage: Resources) -> None:
    table = storage["aws_dynamodb_table.images"]
    assert (table["stream_enabled"], table["stream_view_type"]) == (True, "NEW_AND_OLD_IMAGES")
    assert (table["ttl"][0]["enabled"], table["ttl"][0]["attribute_name"]) == (True, "expires_at")


def test_without_a_key_nothing_costs_anything_at_rest(storage: Resources) -> None:
    assert not [address for address in storage if address.startswith("aws_kms")]
    assert not storage["aws_dynamodb_table.images"].get("server_side_encryption")
    assert storage["aws_sqs_queue.uploads"]["kms_master_key_id"] is None


def test_a_key_of_ones_own_encrypts_everything(storage_with_key: Resources) -> None:
    for purpose in BUCKETS:
        encryption = storage_with_key[f'aws_s3_bucket_server_side_encryption_configuration.images["{purpose}"]']
        rule = encryption["rule"][0]
        assert rule["bucket_key_enabled"] is True
        assert rule["apply_server_side_encryption_by_default"][0]["sse_algorithm"] == "aws:kms"
    for queue in ("backfill", "uploads", "dead_letters"):
        # Its ARN is known after apply only; SSE by SQS would show here as true.
        assert storage_with_key[f"aws_sqs_queue.{queue}"].get("sqs_managed_sse_enabled") is not True
    assert storage_with_key["aws_dynamodb_table.images"]["server_side_encryption"][0]["enabled"] is True


def test_an_environment_can_be_thrown_away_when_it_says_so(storage_with_key: Resources) -> None:
    assert all(storage_with_key[f'aws_s3_bucket.images["{purpose}"]']["force_destroy"] is True for purpose in BUCKETS)
    assert storage_with_key["aws_dynamodb_table.images"]["deletion_protection_enabled"] is False
