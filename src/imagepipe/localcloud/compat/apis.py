"""HTTP APIs of several accounts in one server."""

import functools
import os
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from ministack import app
from ministack.core.responses import get_account_id
from ministack.services import apigateway, lambda_svc


def find_apis_of_every_account() -> None:
    """Let unsigned calls reach an HTTP API in any account.

    Upstream looks in the server's default account only, so that a server with several accounts answers "Not Found".
    A signed call still reaches only the APIs of its own account.
    """
    find: Callable[[str], tuple[str, str] | None] = apigateway.find_api_scope
    nobody = os.environ.get("MINISTACK_ACCOUNT_ID", "000000000000")

    @functools.wraps(find)
    def find_everywhere(api_id: str) -> tuple[str, str] | None:
        scope = find(api_id)
        if scope is not None or get_account_id() != nobody:
            return scope
        owners = (owner for (*owner, name), _ in apigateway._apis.all_items() if name == api_id)
        return next(((account, region) for account, region in owners), None)

    apigateway.find_api_scope = find_everywhere


def keep_function_errors_from_callers() -> None:
    """Answer 500 and "Internal Server Error" to the caller of an HTTP API whose function fails.

    Upstream answers 502 with the function's error, its message and stack trace.
    """
    shape = lambda_svc.lambda_execute_result_to_api_proxy_response

    @functools.wraps(shape)
    def shape_without_error(result: dict[str, Any]) -> tuple[dict[str, Any] | None, str | None]:
        if result.get("error") and not result.get("throttle"):
            headers = {"Content-Type": "application/json"}
            return {"statusCode": 500, "headers": headers, "body": '{"message":"Internal Server Error"}'}, None
        return shape(result)  # type: ignore[no-any-return]

    lambda_svc.lambda_execute_result_to_api_proxy_response = shape_without_error


def refuse_callers_of_apis_in_one_way() -> None:
    """Answer 403 and "Forbidden" to every caller whom an HTTP API's IAM authorization refuses.

    Upstream does so for requests without a signature. To the others it names the reason: a key that nobody has, a wrong
    signature, the caller's ARN and the API's.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-access-control-iam.html
    """
    enforce = app._enforce_execute_api

    @functools.wraps(enforce)
    def enforce_without_reason(api_id: str, *request: Any, **options: Any) -> Any:
        denied = enforce(api_id, *request, **options)
        if denied and apigateway.find_api_scope(api_id) is not None:
            return 403, {"Content-Type": "application/json"}, b'{"message":"Forbidden"}'
        return denied

    app._enforce_execute_api = enforce_without_reason


def delete_settings_of_one_route() -> None:
    """Delete the settings of one route of a stage, if DeleteRouteSettings says so.

    Upstream deletes the whole stage. Terraform sends that request when a route loses its own throttling.
    """
    handle = apigateway.handle_request

    @functools.wraps(handle)
    async def handle_settings(method: str, path: str, *rest: Any) -> Any:
        place = _SETTINGS.fullmatch(unquote(path))
        if method != "DELETE" or not place:
            return await handle(method, path, *rest)
        stage = apigateway._stages.get(place["api"], {}).get(place["stage"], {})
        if stage.get("routeSettings", {}).pop(place["route"], None) is None:
            return apigateway._apigw_error("NotFoundException", "Unable to find Route by key", 404)
        return 204, {}, b""

    apigateway.handle_request = handle_settings


_SETTINGS = re.compile(r"/v2/apis/(?P<api>[^/]+)/stages/(?P<stage>[^/]+)/routesettings/(?P<route>.+)")


def give_apis_all_their_paths() -> None:
    """Pass every path under an API's own host name to the API.

    Upstream answers some paths by itself before it looks at the host name, `/health` among them.
    """
    shortcut = app._handle_pre_body_request

    @functools.wraps(shortcut)
    async def shortcut_elsewhere(method: str, path: str, headers: dict[str, str], *rest: Any) -> Any:
        if app._EXECUTE_API_RE.match(headers.get("host", "")):
            return None
        return await shortcut(method, path, headers, *rest)

    app._handle_pre_body_request = shortcut_elsewhere
