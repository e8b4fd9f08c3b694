"""The HTTP API: answers requests of API Gateway (payload format 2.0)."""

import json
import os
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from image_processor import aws
from image_processor.records.catalogue import Catalogue, Problem
from image_processor.settings import ApiSettings
from image_processor.telemetry import Context, invocation, logger

Answer = dict[str, Any]


@cache
def _catalogue() -> Catalogue:
    settings = ApiSettings.of(os.environ)
    return Catalogue(
        aws.s3(),
        aws.dynamodb(),
        table=settings.table,
        upload_bucket=settings.upload_bucket,
        processed_bucket=settings.processed_bucket,
        url_ttl=settings.url_ttl_seconds,
    )


def api(event: dict[str, Any], context: Context) -> Answer:
    """Answer one request. A refusal is problem details (RFC 9457) and reveals no internals."""
    request = event["requestContext"]["http"]
    with invocation(context):
        try:
            return _route(request["method"], event["rawPath"], event.get("queryStringParameters") or {})
        except Problem as problem:
            return _refusal(problem)
        except Exception:
            # The log has the error, under the request id that API Gateway's log has too.
            logger.exception("the request could not be answered")
            return _refusal(Problem(500, "Internal error", "the request could not be answered; its id is in the logs"))


def _route(method: str, path: str, parameters: dict[str, str]) -> Answer:
    allowed = []
    for verb, pattern, answer in _ROUTES:
        if match := re.fullmatch(pattern, path):
            if verb == method:
                return answer(parameters, *match.groups())
            allowed.append(verb)
    if allowed:
        raise Problem(405, "No such method", f"{path} answers to {', '.join(allowed)}, not to {method}")
    raise Problem(404, "No such address", f"{path} is no address of this API: {_ADDRESSES}")


def _list(parameters: dict[str, str]) -> Answer:
    return _json(200, _catalogue().page(parameters))


def _show(parameters: dict[str, str], image_id: str) -> Answer:
    _refuse(parameters)
    return _json(200, _catalogue().image(image_id))


def _variant(parameters: dict[str, str], image_id: str, name: str) -> Answer:
    _refuse(parameters)
    headers = {"Location": _catalogue().variant_url(image_id, name), "Cache-Control": "no-store"}
    return {"statusCode": 302, "headers": headers, "body": ""}


def _remove(parameters: dict[str, str], image_id: str) -> Answer:
    """Accept a removal. It is done by the event of the removed object, like one made in the bucket."""
    _refuse(parameters)
    _catalogue().remove(image_id)
    return _json(202, {"image_id": image_id, "detail": "the image and its variants are being removed"})


def _health(parameters: dict[str, str]) -> Answer:
    _refuse(parameters)
    return _json(200, {"status": "ok"})


_ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET", "/images", _list),
    ("GET", "/images/([^/]+)", _show),
    ("DELETE", "/images/([^/]+)", _remove),
    ("GET", "/images/([^/]+)/variants/([^/]+)", _variant),
    ("GET", "/health", _health),
)


_ADDRESSES = "/images, /images/{id}, /images/{id}/variants/{name} and /health are"


def _refuse(parameters: dict[str, str]) -> None:
    if parameters:
        raise Problem(400, "Unknown parameter", f"{', '.join(sorted(parameters))}: this address takes no parameters")


def _refusal(problem: Problem) -> Answer:
    body = {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}
    return _json(problem.status, body, "application/problem+json")


def _json(status: int, body: Any, content_type: str = "application/json") -> Answer:
    return {"statusCode": status, "headers": {"Content-Type": content_type}, "body": json.dumps(body)}


if "TABLE_NAME" in os.environ:  # the clients are made while the function initialises, when it has full CPU
    _catalogue()
