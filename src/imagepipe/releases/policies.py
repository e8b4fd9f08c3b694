"""Rules that a plan must keep, whoever approves it.

live/waivers.json waives a rule by its name, for one resource, with a reason and a last day. The loss of stored data
cannot be waived: it takes a label on the pull request, each time.

Format of a plan: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from imagepipe.errors import PipelineError
from imagepipe.live.environments import LIVE, ROOT
from imagepipe.releases import waivers as waiver_files
from imagepipe.terragrunt import drift

WAIVERS = LIVE / "waivers.json"

#: Label of a pull request that is meant to destroy a bucket, table, queue or key with its data.
DESTROY_LABEL = "destroys-data"

#: Resources with data that no apply can bring back.
STATEFUL = frozenset({"aws_dynamodb_table", "aws_ecr_repository", "aws_kms_key", "aws_s3_bucket", "aws_sqs_queue"})

Change = dict[str, Any]


@dataclass(frozen=True)
class Violation:
    """A resource that breaks a rule."""

    rule: str
    unit: str
    address: str
    why: str

    @property
    def remedy(self) -> str:
        """Advice for people."""
        if self.rule == "stateful-deletion":
            return f"label the pull request {DESTROY_LABEL} (LABELS={DESTROY_LABEL}) if that is what you want"
        return f"mend it, or waive {self.rule} for {self.address} in {WAIVERS.relative_to(ROOT)}"


class Waiver(BaseModel):
    """One resource that one rule leaves alone until a day."""

    model_config = ConfigDict(extra="forbid")

    address: str
    reason: Annotated[str, Field(min_length=20)]
    rule: str
    unit: str  # like dev/storage
    until: date

    def covers(self, violation: Violation) -> bool:
        """Tell whether the waiver is for this rule and resource."""
        return (self.rule, self.unit, self.address) == (violation.rule, violation.unit, violation.address)


def waivers() -> list[Waiver]:
    """Return the waivers of live/waivers.json.

    Raises:
        PipelineError: it is malformed, or waives a rule that does not exist.
    """
    waived = waiver_files.read(WAIVERS, Waiver)
    for waiver in waived:
        if waiver.rule not in RULES or waiver.rule == "stateful-deletion":
            name = WAIVERS.relative_to(ROOT)
            raise PipelineError(f"{name}: {waiver.rule} cannot be waived here; what can: {', '.join(sorted(RULES))}")
    return waived


def judge(
    unit: str, plan: dict[str, Any], labels: frozenset[str], waived: list[Waiver], today: date | None = None
) -> Iterator[Violation]:
    """Yield every breach of a rule by a unit's plan.

    Args:
        labels: of the pull request.
        today: for waivers; without, the current day in UTC.
    """
    day = today or datetime.now(UTC).date()
    for change in plan.get("resource_changes", []):
        for rule, check in RULES.items():
            if rule == "stateful-deletion" and DESTROY_LABEL in labels:
                continue
            for why in check(change):
                violation = Violation(rule, unit, change["address"], why)
                if not any(waiver.covers(violation) and waiver.until >= day for waiver in waived):
                    yield violation


def statements(document: Any) -> list[dict[str, Any]]:
    """Return the statements of a policy document, with actions and resources as lists; none of an unknown document."""
    try:
        content = json.loads(document)["Statement"] if isinstance(document, str) else []
    except (ValueError, KeyError, TypeError):
        return []
    return [
        {**statement, **{part: _listed(statement[part]) for part in ("Action", "Resource") if part in statement}}
        for statement in _listed(content)
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _after(change: Change) -> dict[str, Any]:
    """Return the attributes that a created or changed resource will have, or {}. Unknown values are UNKNOWN."""
    if not {"create", "update"} & {*change["change"]["actions"]}:
        return {}
    unknown = change["change"].get("after_unknown") or {}
    return (change["change"]["after"] or {}) | {name: drift.UNKNOWN for name, value in unknown.items() if value is True}


def _goes(change: Change) -> bool:
    return bool(change["change"]["actions"] == ["delete"])


def _encryption(change: Change) -> Iterator[str]:
    after = _after(change)
    match change["type"]:
        case "aws_sqs_queue" if after and not (after.get("kms_master_key_id") or after.get("sqs_managed_sse_enabled")):
            yield "a queue whose messages are not encrypted"
        case "aws_dynamodb_table" if _switched_off(after.get("server_side_encryption")):
            yield "a table that switches encryption off"
        case "aws_s3_bucket_server_side_encryption_configuration" if _goes(change):
            yield "the rule by which a bucket encrypts would go"


def _switched_off(blocks: Any) -> bool:
    return isinstance(blocks, list) and any(block.get("enabled") is False for block in blocks)


_BLOCKS = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def _public_access(change: Change) -> Iterator[str]:
    after = _after(change)
    match change["type"]:
        case "aws_s3_bucket_public_access_block" if _goes(change):
            yield "what keeps a bucket from being made public would go"
        case "aws_s3_bucket_public_access_block" if after and not all(after.get(name) is True for name in _BLOCKS):
            yield f"a bucket that could be made public: {', '.join(n for n in _BLOCKS if after.get(n) is not True)}"
        case "aws_s3_bucket_acl" if str(after.get("acl")).startswith("public"):
            yield f"a bucket with the ACL {after['acl']}"
        case "aws_lambda_function_url" if after.get("authorization_type") == "NONE":
            yield "an address of a function that anybody may call"
        case "aws_lambda_permission" if after and not (after.get("source_arn") or after.get("source_account")):
            yield "a function that others than this account may have called"
    for name, document in _documents(change, _RESOURCE_POLICIES):
        for statement in statements(document):
            if (
                statement.get("Effect") == "Allow"
                and _anybody(statement.get("Principal"))
                and not statement.get("Condition")
            ):
                yield f"{name} allows anybody {', '.join(statement.get('Action', ['all but what it names']))}"


def _anybody(principal: Any) -> bool:
    return principal == "*" or (isinstance(principal, dict) and "*" in _listed(principal.get("AWS")))


def _iam_wildcards(change: Change) -> Iterator[str]:
    for name, document in _documents(change, _IDENTITY_POLICIES):
        for statement in statements(document):
            if statement.get("Effect") != "Allow":
                continue
            if wide := [action for action in statement.get("Action", []) if action == "*" or action.endswith(":*")]:
                yield f"{name} allows {', '.join(wide)}"
            if "NotAction" in statement:
                yield f"{name} allows all but what it names"
            everything = "*" in statement.get("Resource", []) and not _narrowed(statement.get("Condition", {}))
            if everything and (writes := [action for action in statement.get("Action", []) if not _harmless(action)]):
                yield f"{name} allows {', '.join(writes)} on everything"


#: Actions that change nothing. s3:GetObject and the like read data, of a resource that is named.
_READING = re.compile(r"^[\w-]+:(Describe|Get|List|Lookup|Search|View)", re.ASCII)


#: Conditions that narrow a permission to own resources, for resources without a name of our choice.
_NARROWING = re.compile(r"^(aws:(Request|Resource)Tag/|lambda:FunctionArn$)", re.IGNORECASE)

#: Actions that take no resource: https://docs.aws.amazon.com/service-authorization/latest/reference/
_NAMELESS = frozenset({"ecr:GetAuthorizationToken", "logs:PutResourcePolicy"} | {
    f"logs:{verb}LogDelivery" for verb in ("Create", "Delete", "Get", "Update")
})  # fmt: skip


def _narrowed(condition: dict[str, Any]) -> bool:
    return any(
        _NARROWING.match(key)
        for operator, keys in condition.items()
        if operator in {"ArnEquals", "ArnLike", "StringEquals", "StringLike"}
        for key in keys
    )


def _harmless(action: str) -> bool:
    reads = _READING.match(action) and not action.endswith(("GetObject", "GetSecretValue"))
    return bool(reads) or action in _NAMELESS


#: Attribute with the policy document, by type of resource.
_IDENTITY_POLICIES = {"aws_iam_policy": "policy", "aws_iam_role_policy": "policy", "aws_iam_user_policy": "policy"}
_RESOURCE_POLICIES = {
    "aws_ecr_repository_policy": "policy",
    "aws_iam_role": "assume_role_policy",
    "aws_s3_bucket_policy": "policy",
    "aws_sns_topic_policy": "policy",
    "aws_sqs_queue": "policy",
    "aws_sqs_queue_policy": "policy",
}


def _documents(change: Change, places: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield the policy documents that a change would put in place, with their attribute."""
    if field := places.get(change["type"]):
        yield field, _after(change).get(field)


_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def _image_by_digest(change: Change) -> Iterator[str]:
    image = _after(change).get("image_uri") if change["type"] == "aws_lambda_function" else None
    if image and image != drift.UNKNOWN and not _DIGEST.search(image):
        yield f"the image {image} is not named by its digest: somebody could put another in its place"


def _stateful_deletion(change: Change) -> Iterator[str]:
    actions = change["change"]["actions"]
    if change["type"] in STATEFUL and "delete" in actions:
        yield f"what it holds would be lost: it is to be {'replaced' if 'create' in actions else 'destroyed'}"


RULES: dict[str, Callable[[Change], Iterator[str]]] = {
    "encryption": _encryption,
    "iam-wildcard": _iam_wildcards,
    "image-by-digest": _image_by_digest,
    "public-access": _public_access,
    "stateful-deletion": _stateful_deletion,
}
