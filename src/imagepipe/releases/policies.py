"""Rules that a plan must keep, whoever approves it.

live/waivers.json waives a rule by its name, for one resource, with a reason and a last day. The loss of stored data,
and of the protection against that, is waived for two weeks at most. No waiver covers code of others.

Format of a plan: https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from imagepipe.errors import PipelineError
from imagepipe.live import environments, roles
from imagepipe.live.environments import LIVE, ROOT, Environment
from imagepipe.releases import waivers as waiver_files
from imagepipe.terragrunt import drift

WAIVERS = LIVE / "waivers.json"

#: Rules about stored data, and the longest time that a waiver of them may last.
_SHORTLY, _SHORT_TIME = frozenset({"protection", "stateful-deletion"}), timedelta(days=14)

#: The rule that no waiver covers.
FOREIGN_CODE = "foreign-code"

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
        if self.rule == FOREIGN_CODE:
            return "take it out: no waiver covers code that is not of this repository"
        shortly = f", for {_SHORT_TIME.days} days at most" if self.rule in _SHORTLY else ""
        return f"mend it, or waive {self.rule} for {self.address} in {WAIVERS.relative_to(ROOT)}{shortly}"


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


def waivers(today: date | None = None) -> list[Waiver]:
    """Return the waivers of live/waivers.json.

    Args:
        today: without, the current day in UTC.

    Raises:
        PipelineError: it is malformed, or waives what cannot be waived, or for too long.
    """
    last = (today or datetime.now(UTC).date()) + _SHORT_TIME
    waived, name = waiver_files.read(WAIVERS, Waiver), WAIVERS.relative_to(ROOT)
    for waiver in waived:
        if waiver.rule not in RULES:
            raise PipelineError(f"{name}: {waiver.rule} cannot be waived here; what can: {', '.join(sorted(RULES))}")
        if waiver.rule in _SHORTLY and waiver.until > last:
            raise PipelineError(
                f"{name}: {waiver.rule} of {waiver.address} is waived until {waiver.until}: {last} at most, because "
                "what is lost then is lost for good"
            )
    return waived


def judge(
    unit: str, plan: dict[str, Any], waived: list[Waiver], environment: Environment, today: date | None = None
) -> Iterator[Violation]:
    """Yield every breach of a rule by a unit's plan.

    Args:
        today: for waivers; without, the current day in UTC.
    """
    day = today or datetime.now(UTC).date()
    for address, why in _foreign_code(plan):
        yield Violation(FOREIGN_CODE, unit, address, why)
    for change in plan.get("resource_changes", []):
        for rule, check in RULES.items():
            for why in check(change, environment):
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


def _encryption(change: Change, _: Environment) -> Iterator[str]:
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


def _public_access(change: Change, _: Environment) -> Iterator[str]:
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
        case "aws_apigatewayv2_route" if after and not _signed(after.get("authorization_type")):
            method = str(after.get("route_key")).split()[0]
            if method not in _READING_METHODS:
                yield f"the route {after.get('route_key')} takes requests that nobody signed"
        case "aws_api_gateway_method" if after and not _signed(after.get("authorization")):
            if after.get("http_method") not in _READING_METHODS:
                yield f"the method {after.get('http_method')} takes requests that nobody signed"
    if any(after.get(name) == "*" for name in _PRINCIPALS):
        yield "a permission for anybody"
    for name, statement in _statements(change):
        if statement.get("Effect") == "Allow" and _anybody(statement) and not _names_us(statement.get("Condition", {})):
            yield f"{name} allows anybody {', '.join(statement.get('Action', ['all but what it names']))}"


#: Methods of HTTP that change nothing.
_READING_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

#: Attributes that hold one principal.
_PRINCIPALS = ("grantee_principal", "principal")


def _signed(authorization: Any) -> bool:
    return authorization in {"AWS_IAM", "COGNITO_USER_POOLS", "CUSTOM", "JWT"}


def _anybody(statement: dict[str, Any]) -> bool:
    """Tell whether a statement of a resource's policy is about anybody. NotPrincipal is: it names who is left out."""
    principal = statement.get("Principal")
    return (
        "NotPrincipal" in statement
        or principal == "*"
        or (isinstance(principal, dict) and "*" in _listed(principal.get("AWS")))
    )


#: Conditions by which a policy for anybody is one for accounts that it names.
_ACCOUNT_KEYS = frozenset(
    {"aws:principalaccount", "aws:principalarn", "aws:sourceaccount", "aws:sourcearn", "kms:calleraccount"}
)


def _names_us(condition: dict[str, Any]) -> bool:
    """Tell whether a condition admits known accounts only. Most conditions are met by strangers too."""
    return any(
        all(_account(value) in _known_accounts() for value in _listed(values))
        for operator, keys in condition.items()
        if operator in {"ArnEquals", "ArnLike", "StringEquals", "StringLike"}
        for key, values in keys.items()
        if key.lower() in _ACCOUNT_KEYS
    )


_ARN = re.compile(r"\barn:[a-z-]+:[a-z0-9-]*:[a-z0-9-]*:(\d{12}):")

#: Stands for an account in mock outputs.
_NO_ACCOUNT = "0" * 12


def _account(value: Any) -> str | None:
    """Return the account that an ARN or a principal names; None if it names none."""
    text = str(value)
    if re.fullmatch(r"\d{12}", text):
        return text
    match = _ARN.match(text)
    return match[1] if match else None


def _known_accounts() -> frozenset[str]:
    return frozenset(environment.account_id for environment in environments.load_all())


def _foreign_account(change: Change, _: Environment) -> Iterator[str]:
    after, known = _after(change), _known_accounts() | {_NO_ACCOUNT}
    accounts = {*_ARN.findall(json.dumps(after))}
    accounts |= {str(account) for name in (*_PRINCIPALS, "source_account") if (account := _account(after.get(name)))}
    for name, statement in _statements(change):
        principal = statement.get("Principal", {})
        trusted = principal if isinstance(principal, dict) else {}
        accounts |= {account for value in _listed(trusted.get("AWS")) if (account := _account(value))}
        if statement.get("Effect") == "Allow":
            for provider in _listed(trusted.get("Federated")) if "Federated" in trusted else []:
                if not _our_workflows(provider, statement.get("Condition", {})):
                    yield f"{name} trusts others of {provider} than the workflows of {roles.repository()}"
            if "CanonicalUser" in trusted:
                yield f"{name} allows an account by a canonical id, which names no known one"
    for account in sorted(accounts - known):
        yield f"it names account {account}, which is none of live/*/env.hcl"


def _our_workflows(provider: Any, condition: dict[str, Any]) -> bool:
    """Tell whether a trust is for jobs of this repository: by whole subjects, of GitHub's provider."""
    issuer = roles.ISSUER.removeprefix("https://")
    subjects = _listed(condition.get("StringEquals", {}).get(f"{issuer}:sub", []))
    owner, name = roles.repository().split("/")
    ours = re.compile(rf"repo:{re.escape(owner)}(@\d+)?/{re.escape(name)}(@\d+)?:[^*?]+")
    return (
        str(provider).endswith(f":oidc-provider/{issuer}")
        and bool(subjects)
        and all(ours.fullmatch(str(subject)) for subject in subjects)
    )


def _iam_wildcards(change: Change, _: Environment) -> Iterator[str]:
    for name, statement in _statements(change):
        if statement.get("Effect") == "Allow" and not {"NotPrincipal", "Principal"} & statement.keys():
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


def _managed_policy(change: Change, _: Environment) -> Iterator[str]:
    after = _after(change)
    attached = [after.get("policy_arn"), *(after.get("managed_policy_arns") or []), *(after.get("policy_arns") or [])]
    for arn in attached:
        if re.match(r"arn:[a-z-]+:iam::aws:policy/", str(arn)):
            yield f"it attaches {arn}: what that allows is written, and changed, by AWS"


def _statements(change: Change) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every statement of every policy document in a resource, whatever its type, with the attribute's name."""
    for name, value in _after(change).items():
        for document in _texts(value):
            for statement in statements(document):
                yield name, statement


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def _image_by_digest(change: Change, _: Environment) -> Iterator[str]:
    image = _after(change).get("image_uri") if change["type"] == "aws_lambda_function" else None
    if image and image != drift.UNKNOWN and not _DIGEST.search(image):
        yield f"the image {image} is not named by its digest: somebody could put another in its place"


def _stateful_deletion(change: Change, _: Environment) -> Iterator[str]:
    actions = change["change"]["actions"]
    if change["type"] in STATEFUL and "delete" in actions:
        yield f"what it holds would be lost: it is to be {'replaced' if 'create' in actions else 'destroyed'}"


def _protection(change: Change, environment: Environment) -> Iterator[str]:
    """Yield what would no longer keep stored data. In an environment that is not protected, only what is given up."""
    before, after = change["change"].get("before") or {}, _after(change)
    match change["type"]:
        case "aws_dynamodb_table" if after:
            kept = before.get("deletion_protection_enabled") or environment.protected
            if kept and after.get("deletion_protection_enabled") is not True:
                yield "a table that anybody with the right may delete"
            if environment.protected and not _switched_on(after.get("point_in_time_recovery")):
                yield "a table without recovery to a point in time"
        case "aws_s3_bucket" if after.get("force_destroy") and (before.get("force_destroy") is False):
            yield "a bucket that would be destroyed with all that it holds"
        case "aws_s3_bucket" if after.get("force_destroy") and environment.protected:
            yield "a bucket that would be destroyed with all that it holds"
        case "aws_s3_bucket_versioning" if environment.protected and (_goes(change) or _suspended(after)):
            yield "a bucket that no longer keeps what is overwritten or removed"


def _switched_on(blocks: Any) -> bool:
    return isinstance(blocks, list) and any(block.get("enabled") is True for block in blocks)


def _suspended(after: dict[str, Any]) -> bool:
    blocks = after.get("versioning_configuration")
    return bool(after) and isinstance(blocks, list) and any(block.get("status") != "Enabled" for block in blocks)


#: Providers that may run in a plan and an apply.
_PROVIDERS = frozenset({"registry.terraform.io/hashicorp/aws", "terraform.io/builtin/terraform"})


def _foreign_code(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield address and reason of all in a plan that would run code which is neither Terraform's nor AWS's provider's.

    Format: https://developer.hashicorp.com/terraform/internals/json-format#configuration-representation
    """
    configuration = plan.get("configuration", {})
    used = {provider.get("full_name") for provider in configuration.get("provider_config", {}).values()}
    used |= {change.get("provider_name") for change in plan.get("resource_changes", [])}
    for provider in sorted(filter(None, used - _PROVIDERS)):
        yield "provider", f"{provider} is a provider that no release was reviewed with"
    for invocation in plan.get("action_invocations", []):
        yield str(invocation.get("address")), "an action, which calls what no resource shows"
    yield from _foreign_in(configuration.get("root_module", {}), "")


def _foreign_in(module: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for resource in module.get("resources", []):
        address = f"{prefix}{resource['address']}"
        for provisioner in resource.get("provisioners", []):
            yield address, f"a provisioner ({provisioner['type']}), which runs commands where it is applied"
        if resource.get("mode") == "data" and resource.get("type") == "external":
            yield address, "data of the kind external, which runs a program where it is planned"
    for name, call in module.get("module_calls", {}).items():
        if not str(call.get("source", "")).startswith(("./", "../")):
            yield f"{prefix}module.{name}", f"a module of {call.get('source')}: only those of this repository are used"
        yield from _foreign_in(call.get("module", {}), f"{prefix}module.{name}.")


RULES: dict[str, Callable[[Change, Environment], Iterator[str]]] = {
    "encryption": _encryption,
    "foreign-account": _foreign_account,
    "iam-wildcard": _iam_wildcards,
    "image-by-digest": _image_by_digest,
    "managed-policy": _managed_policy,
    "protection": _protection,
    "public-access": _public_access,
    "stateful-deletion": _stateful_deletion,
}
