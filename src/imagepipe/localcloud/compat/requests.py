"""What policies learn of a request: which thing it is about, and what else they may ask."""

import functools
import json
import re
from typing import Any

from ministack.core import iam_actions, iam_evaluator
from ministack.services import dynamodb, iam, lambda_svc

#: Where a role that a request hands to Lambda waits for its own check. No condition key has this form.
_PASSED = "passed role"

_PASSING = frozenset({"lambda:CreateFunction", "lambda:UpdateFunctionConfiguration"})


def tell_policies_more_of_requests() -> None:
    """Policies may ask which boundary a role has or gets, which items of a table a request touches, and whose event
    source mapping it is; and whoever gives a role to a function needs iam:PassRole on it.

    Upstream knows neither iam:PermissionsBoundary, dynamodb:LeadingKeys nor lambda:FunctionArn, and never asks for
    iam:PassRole.
    """
    known = iam_actions.request_tag_context
    enforce = iam_evaluator.enforce

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
        denied = enforce(key, action, service, region, resource_arn, context)
        if denied or not passed:
            return denied
        return enforce(key, "iam:PassRole", "iam", region, passed, {"iam:PassedToService": "lambda.amazonaws.com"})

    iam_actions.request_tag_context = with_more
    iam_evaluator.enforce = enforce_passing


def let_wildcards_stand_for_line_breaks() -> None:
    """A "*" in a policy stands for any characters.

    Upstream leaves out line breaks, so that nobody may read an object with one in its key.
    """
    compile_pattern = iam_evaluator._fnmatch_compile

    @functools.wraps(compile_pattern)
    def compile_whole(pattern: str, ignore_case: bool) -> re.Pattern[str]:
        compiled = compile_pattern(pattern, ignore_case)
        return re.compile(compiled.pattern.removesuffix("$") + r"\Z", compiled.flags | re.DOTALL)

    iam_evaluator._fnmatch_compile = compile_whole


#: Where a request may say which thing it is about.
_ARNS = ("OpenIDConnectProviderArn", "ResourceARN", "ResourceArn", "SubscriptionArn", "resourceArn")


def find_what_requests_are_about() -> None:
    """A policy may name the thing that a request tags, new functions, the version that is called, repositories, event
    buses, alarms, dashboards, subscriptions and identity providers.

    Upstream takes such requests to be about everything, calls of a version to be about the function as a whole, and
    those for an event bus to be about a rule of that name.
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
        found = str(find(service, method, path, headers, body, parameters, region, account))
        if service == "lambda" and path.endswith("/invocations") and (version := _one(parameters.get("Qualifier"))):
            return f"{found}:{version}" if found.count(":") == 6 else found
        if found != "*":
            return found
        if service == "lambda" and path.endswith("/functions") and (name := _parsed(body).get("FunctionName")):
            return f"arn:aws:lambda:{region}:{account}:function:{name}"
        if service == "ecr" and (names := _parsed(body).get("repositoryNames")):
            return f"arn:aws:ecr:{region}:{account}:repository/{names[0]}"
        if service == "monitoring" and (named := _watching(body, parameters)):
            return f"arn:aws:cloudwatch:{region if named.startswith('alarm:') else ''}:{account}:{named}"
        return iam_actions._param(body, parameters, *_ARNS) or found

    iam_actions.extract_resource_arn = find_more


def _watching(body: bytes, parameters: dict[str, Any]) -> str:
    """An alarm or dashboard that a request of CloudWatch names: the first, where there are several."""
    content = {**parameters, **_parsed(body)}
    for kind, names in (("alarm:", "AlarmNames"), ("dashboard/", "DashboardName"), ("dashboard/", "DashboardNames")):
        if found := _one(content.get(names) or content.get(f"{names}.member.1")):
            return kind + found
    return ""


def _one(value: Any) -> str:
    """The first of several values."""
    found = value[0] if isinstance(value, list) and value else value
    return str(found) if found else ""


def _more(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
    if service == "iam":
        given = iam_actions._param(b"", parameters, "PermissionsBoundary")
        role = iam._roles.get(iam_actions._param(b"", parameters, "RoleName")) or {}
        boundary = given or role.get("PermissionsBoundary")
        return {"iam:PermissionsBoundary": boundary} if boundary else {}
    if service == "dynamodb":
        return _leading_keys(_parsed(body))
    if action == "lambda:CreateEventSourceMapping":
        name = str(_parsed(body).get("FunctionName", ""))
        return {"lambda:FunctionArn": name if name.startswith("arn:") else lambda_svc._func_arn(name)}
    if action in _PASSING and (role_arn := _parsed(body).get("Role")):
        return {_PASSED: role_arn}
    return {}


def _leading_keys(request: dict[str, Any]) -> dict[str, Any]:
    """The partition key of the one item that a request names."""
    table = dynamodb._tables.get(str(request.get("TableName", "")).rsplit("/", 1)[-1])
    item = request.get("Key") or request.get("Item")
    if not table or not isinstance(item, dict) or table["pk_name"] not in item:
        return {}
    return {"dynamodb:LeadingKeys": [str(value) for value in item[table["pk_name"]].values()]}


def _mapping(arn: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = (
        lambda_svc._esms.get(arn.rsplit(":", 1)[1]) if ":event-source-mapping:" in arn else None
    )
    return found


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
