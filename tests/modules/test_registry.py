"""registry: the image repository."""

import json
from collections.abc import Callable

import pytest

from .conftest import statements
from .harness import Resources

READERS = ["222222222222", "333333333333"]
INPUTS = {"name": "image-pipeline/processor", "reader_account_ids": READERS, "untagged_retention_days": 21}
PLANS = {"main": INPUTS}


@pytest.fixture(scope="session")
def registry(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("registry", "main")


def test_tags_cannot_be_moved(registry: Resources) -> None:
    repository = registry["aws_ecr_repository.images"]
    assert repository["name"] == "image-pipeline/processor"
    assert repository["image_tag_mutability"] == "IMMUTABLE"


def test_images_are_scanned_and_encrypted(registry: Resources) -> None:
    repository = registry["aws_ecr_repository.images"]
    assert repository["image_scanning_configuration"] == [{"scan_on_push": True}]
    assert repository["encryption_configuration"][0]["encryption_type"] == "AES256"


def test_repository_with_images_is_kept(registry: Resources) -> None:
    assert registry["aws_ecr_repository.images"]["force_delete"] is False


def test_a_released_image_never_expires(registry: Resources) -> None:
    """ECR lets no rule expire an image that has the tags of a rule with a higher priority (a lower number)."""
    rules = json.loads(registry["aws_ecr_lifecycle_policy.images"]["policy"])["rules"]
    first = min(rules, key=lambda rule: rule["rulePriority"])
    assert first["selection"] == {
        "tagStatus": "tagged",
        "tagPrefixList": ["release-"],
        "countType": "imageCountMoreThan",
        "countNumber": 9999,
    }
    assert all(rule["selection"]["tagStatus"] != "any" for rule in rules)


def test_what_was_never_released_expires(registry: Resources) -> None:
    rules = json.loads(registry["aws_ecr_lifecycle_policy.images"]["policy"])["rules"]
    assert len({rule["rulePriority"] for rule in rules}) == len(rules) == 3
    assert all(rule["action"] == {"type": "expire"} for rule in rules)
    by_age = [rule["selection"] for rule in rules if rule["selection"]["countType"] == "sinceImagePushed"]
    age = {"countType": "sinceImagePushed", "countUnit": "days", "countNumber": 21}
    assert by_age == [
        {"tagStatus": "tagged", "tagPrefixList": ["build-"], **age},
        {"tagStatus": "untagged", **age},
    ]


def test_environments_and_their_functions_may_pull_and_nothing_else(registry: Resources) -> None:
    policy = statements(registry["aws_ecr_repository_policy.pull"]["policy"])
    assert policy.keys() == {"AllowReaderAccounts", "AllowReaderFunctions"}
    pull = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    assert all(statement["Action"] == pull for statement in policy.values())
    accounts, functions = policy["AllowReaderAccounts"], policy["AllowReaderFunctions"]
    assert sorted(accounts["Principal"]["AWS"]) == [f"arn:aws:iam::{account}:root" for account in READERS]
    assert functions["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert functions["Condition"] == {
        "ArnLike": {"aws:SourceArn": [f"arn:aws:lambda:eu-west-1:{account}:function:*" for account in READERS]}
    }
