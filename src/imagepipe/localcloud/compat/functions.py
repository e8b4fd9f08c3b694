"""Functions and their aliases."""

import functools
import http.client
import json
import random
import time
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from ministack.services import cloudwatch, lambda_svc

#: Function, version, alias and whether that has weights, of the call that was directed last in this context.
_directed: ContextVar[tuple[str, str, str, bool] | None] = ContextVar("_directed", default=None)

#: Time beyond the function's own timeout, which the host enforces: to start a worker, or to wait for a free one.
HOST_PATIENCE_SECONDS = 120


def run_image_functions_in(function_host: str) -> None:
    """Run functions of package type Image in the function host.

    Upstream needs Docker for them, or one environment variable per function name. It then writes START and REPORT
    lines into the log group even if the role forbids that, wraps errors in "Proxy target returned HTTP 500", and
    counts AWS/Lambda metrics for direct invocations only.
    """
    dispatch = lambda_svc._execute_function_dispatch
    count = lambda_svc._emit_lambda_metrics

    @functools.wraps(dispatch)
    def dispatch_to_host(
        func: dict[str, Any], config: dict[str, Any], event: Any, request_id: str, started: float
    ) -> dict[str, Any]:
        if config.get("PackageType") != "Image":
            return dispatch(func, config, event, request_id, started)  # type: ignore[no-any-return]
        result = _call_host(function_host, config, event, request_id)
        count(config["FunctionName"], (time.time() - started) * 1000, bool(result.get("error")), throttle=False)
        return result

    def count_throttles(name: str, duration_ms: float, error: bool, throttle: bool) -> None:
        if throttle:
            count(name, duration_ms, error, throttle)

    lambda_svc._execute_function_dispatch = dispatch_to_host
    lambda_svc._emit_lambda_metrics = count_throttles


def share_calls_by_weight() -> None:
    """Distribute the calls of an alias to its versions by their weights, for every kind of caller.

    Upstream stores an alias's RoutingConfig but always calls the alias's own version.
    """
    resolve, invoke = lambda_svc._effective_func_record_for_qualifier, lambda_svc._invoke

    @functools.wraps(resolve)
    def resolve_one(func: dict[str, Any] | None, qualifier: str | None) -> Any:
        return resolve(func, _version(func, qualifier))

    @functools.wraps(invoke)
    async def invoke_one(
        name: str, event: Any, headers: dict[str, str], path_qualifier: str | None = None, query: Any = None
    ) -> Any:
        qualifier = path_qualifier or lambda_svc._qp_first(query or {}, "Qualifier") or None
        return await invoke(name, event, headers, _version(lambda_svc._functions.get(name), qualifier), query)

    def describe_own(describe: Any) -> Any:
        """Describe an alias as its own version, not as the one that the next call would go to."""

        @functools.wraps(describe)
        def described(name: str, qualifier: str | None = None) -> Any:
            alias = (lambda_svc._functions.get(name) or {}).get("aliases", {}).get(qualifier)
            return describe(name, alias["FunctionVersion"] if alias else qualifier)

        return described

    lambda_svc._effective_func_record_for_qualifier = resolve_one
    lambda_svc._invoke = invoke_one
    lambda_svc._get_function = describe_own(lambda_svc._get_function)
    lambda_svc._get_function_config = describe_own(lambda_svc._get_function_config)


def _version(func: dict[str, Any] | None, qualifier: str | None) -> str | None:
    """Choose one version of an alias with weights at random; return any other qualifier as it is."""
    alias = (func or {}).get("aliases", {}).get(qualifier) or {}
    weights: dict[str, float] = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    if not alias or func is None:
        _directed.set(None)
        return qualifier
    versions: list[str] = [alias["FunctionVersion"], *weights]
    version = random.choices(versions, [1 - sum(weights.values()), *weights.values()])[0]  # noqa: S311
    _directed.set((func["config"]["FunctionName"], version, str(qualifier), bool(weights)))
    return version if weights else qualifier


def count_calls_of_each_version() -> None:
    """Publish the AWS/Lambda metrics of a function for its versions and aliases too.

    Resource is the alias or the version that was called; ExecutedVersion the one of a weighted alias that ran.

    Upstream publishes them for FunctionName alone.
    """
    dispatch = lambda_svc._execute_function_dispatch

    @functools.wraps(dispatch)
    def counted(
        func: dict[str, Any], config: dict[str, Any], event: Any, request_id: str, started: float
    ) -> dict[str, Any]:
        directed = _directed.get()
        result: dict[str, Any] = dispatch(func, config, event, request_id, started)
        values = {
            "Invocations": (1.0, "Count"),
            "Errors": (float(bool(result.get("error"))), "Count"),
            "Duration": ((time.time() - started) * 1000, "Milliseconds"),
        }
        for dimensions in _dimensions(config, directed):
            for metric, (value, unit) in values.items():
                cloudwatch.record_metric("AWS/Lambda", metric, value, unit, dimensions)
        return result

    lambda_svc._execute_function_dispatch = counted


def _dimensions(config: dict[str, Any], directed: tuple[str, str, str, bool] | None) -> list[dict[str, str]]:
    """Return the sets of dimensions of a call, beside that of the function's name alone.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
    """
    name, version = str(config["FunctionName"]), str(config["Version"])
    function = {"FunctionName": name}
    if directed is None or directed[:2] != (name, version):
        return [] if version == "$LATEST" else [{**function, "Resource": f"{name}:{version}"}]
    alias = {**function, "Resource": f"{name}:{directed[2]}"}
    return [alias, {**alias, "ExecutedVersion": version}] if directed[3] else [alias]


def _call_host(function_host: str, config: dict[str, Any], event: Any, request_id: str) -> dict[str, Any]:
    address = urlsplit(function_host)
    patience = int(config.get("Timeout") or 3) + HOST_PATIENCE_SECONDS
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=patience)
    try:
        connection.request(
            "POST",
            "/invoke",
            json.dumps(event, ensure_ascii=False).encode(),
            {
                "Content-Type": "application/json",
                "X-Amzn-Lambda-Function-Arn": config["FunctionArn"],
                "X-Amzn-Lambda-Function-Version": config["Version"],
                "X-Amzn-Lambda-Revision-Id": config["RevisionId"],
                "X-Amzn-Lambda-Request-Id": request_id,
            },
        )
        response = connection.getresponse()
        body = json.loads(response.read() or b"null")
    except (OSError, http.client.HTTPException, ValueError) as error:
        failure = {"errorType": "Runtime.HostUnavailable", "errorMessage": f"no answer from the function host: {error}"}
        return {"body": failure, "error": True}
    finally:
        connection.close()
    return {"body": body, "error": True} if response.getheader("X-Amz-Function-Error") else {"body": body}
