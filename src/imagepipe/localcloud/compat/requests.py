"""Facts about a request that IAM policies are evaluated with: its resource and its condition keys."""

import functools
import json
import re
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import apigateway, dynamodb, iam, kms, lambda_svc, tagging

#: Entry of the context for the role that a request gives to Lambda, until it is checked. Not a condition key.
_PASSED = "passed role"

_PASSING = frozenset({"lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"})


def tell_policies_more_of_requests() -> None:
    """Set condition keys of IAM, DynamoDB, Lambda, KMS and API Gateway that policies use, and check iam:PassRole.

    Upstream sets none of iam:PermissionsBoundary, dynamodb:LeadingKeys, lambda:FunctionArn, lambda:Principal and
    kms:ResourceAliases, no tags of HTTP APIs, and lets everybody give any role to a function.
    """
    known = iam_actions.request_tag_context
    enforce = iam_evaluator.enforce
    tags_of = tagging.resource_tags

    @functools.wraps(known)
    def with_more(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
        return {**known(service, action, body, parameters), **_more(service, action, body, parameters)}

    @functools.wraps(enforce)
    def enforce_passing(
        key: str, action: str, service: str, region: str, resource_arn: str = "*", service_context: Any = None
    ) -> Any:
        context = dict(service_context or {})
        passed = context.pop(_PASSED, None)
        if mapping := _mapping(resource_arn):
            context["lambda:FunctionArn"] = mapping["FunctionArn"]
        if aliases := _aliases(resource_arn):
            context["kms:ResourceAliases"] = aliases
        denied = enforce(key, action, service, region, resource_arn, context)
        if denied or not passed:
            return denied
        return enforce(key, "iam:PassRole", "iam", region, passed, {"iam:PassedToService": "lambda.amazonaws.com"})

    @functools.wraps(tags_of)
    def tags_of_apis_too(arn: str) -> dict[str, str] | None:
        return _api_tags(arn) or tags_of(arn)

    iam_actions.request_tag_context = with_more
    iam_evaluator.enforce = enforce_passing
    tagging.resource_tags = tags_of_apis_too


def let_wildcards_stand_for_line_breaks() -> None:
    """Let "*" in a policy match line breaks too.

    Upstream excludes line breaks, so that no policy with "*" allows to read an object with one in its key.
    """
    compile_pattern = iam_evaluator._fnmatch_compile

    @functools.wraps(compile_pattern)
    def compile_whole(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        compiled = compile_pattern(pattern, ignore_case)
        return re.compile(compiled.pattern.removesuffix("$") + r"\Z", compiled.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compile_whole


#: Parameters that may hold the ARN of a request's resource.
_ARNS = ("OpenIDConnectProviderArn", "ResourceARN", "ResourceArn", "SubscriptionArn", "resourceArn")


def find_what_requests_are_about() -> None:
    """Evaluate requests on the ARN of their resource where upstream does not know it.

    Upstream evaluates on "*" requests that tag a resource, create a function, or concern repositories, alarms,
    dashboards, subscriptions and identity providers; calls of a version on the function; requests for an event bus on a
    rule of the same name.
    """
    find = iam_actions.extract_resource_arn

    @functools.wraps(find)
    def find_more(
        service: str, method: str, path: str, headers: dict[str, str], body: bytes, parameters: dict[str, Any],
        region: str, account: str,
    ) -> str:  # fmt: skip
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        if service == "events" and operation.endswith("EventBus") and (name := _parsed(body).get("Name")):
            return f"arn:aws:events:{region}:{account}:event-bus/{name}"
        arn = str(find(service, method, path, headers, body, parameters, region, account))
        if service == "lambda" and path.endswith("/invocations") and (version := _one(parameters.get("Qualifier"))):
            return f"{arn}:{version}" if arn.count(":") == 6 else arn
        if arn != "*":
            return arn
        if service == "lambda" and path.endswith("/functions") and (name := _parsed(body).get("FunctionName")):
            return f"arn:aws:lambda:{region}:{account}:function:{name}"
        if service == "ecr" and (names := _parsed(body).get("repositoryNames")):
            return f"arn:aws:ecr:{region}:{account}:repository/{names[0]}"
        if service == "monitoring" and (suffix := _alarm_or_dashboard(body, parameters)):
            return f"arn:aws:cloudwatch:{region if suffix.startswith('alarm:') else ''}:{account}:{suffix}"
        return iam_actions._param(body, parameters, *_ARNS) or arn

    iam_actions.extract_resource_arn = find_more


def _alarm_or_dashboard(body: bytes, parameters: dict[str, Any]) -> str:
    """Return the end of the ARN of the first alarm or dashboard that a CloudWatch request names, or ""."""
    content = {**parameters, **_parsed(body)}
    for kind, names in (("alarm:", "AlarmNames"), ("dashboard/", "DashboardName"), ("dashboard/", "DashboardNames")):
        if name := _one(content.get(names) or content.get(f"{names}.member.1")):
            return kind + name
    return ""


def _one(value: Any) -> str:
    """Return the first value of a list, or the value itself, as text; "" if there is none."""
    first = value[0] if isinstance(value, list) and value else value
    return str(first) if first else ""


def _more(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
    if service == "iam":
        given = iam_actions._param(b"", parameters, "PermissionsBoundary")
        role = iam._roles.get(iam_actions._param(b"", parameters, "RoleName")) or {}
        boundary = given or role.get("PermissionsBoundary")
        return {"iam:PermissionsBoundary": boundary} if boundary else {}
    if service == "dynamodb":
        return _leading_keys(_parsed(body))
    if service == "apigateway":
        tags = _parsed(body).get("tags")
        return {f"aws:RequestTag/{name}": value for name, value in tags.items()} if isinstance(tags, dict) else {}
    if action == "lambda:AddPermission":
        return {"lambda:Principal": str(_parsed(body).get("Principal", ""))}
    if action == "lambda:CreateEventSourceMapping":
        name = str(_parsed(body).get("FunctionName", ""))
        return {"lambda:FunctionArn": name if name.startswith("arn:") else lambda_svc._func_arn(name)}
    if action in _PASSING and (role_arn := _parsed(body).get("Role")):
        return {_PASSED: role_arn}
    return {}


def _leading_keys(request: dict[str, Any]) -> dict[str, Any]:
    """Return the partition key of the item that a request names."""
    table = dynamodb._tables.get(str(request.get("TableName", "")).rsplit("/", 1)[-1])
    item = request.get("Key") or request.get("Item")
    if not table or not isinstance(item, dict) or table["pk_name"] not in item:
        return {}
    return {"dynamodb:LeadingKeys": [str(value) for value in item[table["pk_name"]].values()]}


def _mapping(arn: str) -> dict[str, Any] | None:
    if ":event-source-mapping:" not in arn:
        return None
    mapping: dict[str, Any] | None = lambda_svc._esms.get(arn.rsplit(":", 1)[1])
    return mapping


def _api_tags(arn: str) -> dict[str, str] | None:
    """Return the tags of the HTTP API that a management ARN is about: its routes and stages count by them, too."""
    match = re.match(r"arn:aws:apigateway:[^:]+::/apis/([^/]+)", arn)
    return apigateway._api_tags.get(apigateway._api_arn(match[1])) if match else None


def _aliases(arn: str) -> list[str]:
    """Return the names of a KMS key's aliases, as kms:ResourceAliases has them."""
    if ":kms:" not in arn or ":key/" not in arn:
        return []
    key = arn.rsplit("/", 1)[1]
    return [alias.split(":", 5)[-1] for alias, target in kms._aliases.items() if target == key]


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
