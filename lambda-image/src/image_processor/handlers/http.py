"""The HTTP API: answers requests of API Gateway (payload format 2.0)."""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache, partial
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


@dataclass(frozen=True)
class _Request:
    method: str
    path: str  # decoded
    parameters: dict[str, str]
    caller: str | None  # ARN of whoever signed; API Gateway has checked signature and policies

    def refuse_parameters(self) -> None:
        if self.parameters:
            names = ", ".join(sorted(self.parameters))
            raise Problem(400, "Unknown parameter", f"{names}: this address takes no parameters")


def api(event: dict[str, Any], context: Context) -> Answer:
    """Answer one request. A refusal is problem details (RFC 9457) and reveals no internals."""
    with invocation(context):
        try:
            request = _read(event)
        except Problem as problem:
            return _refusal(problem)
        answer = _answer(request)
        # The access log has no path: only here it is written as JSON.
        fields = {"method": request.method, "path": request.path, "caller": request.caller}
        logger.info("answered", extra={**fields, "status": answer["statusCode"]})
        return answer


def _answer(request: _Request) -> Answer:
    try:
        return _route(request)
    except Problem as problem:
        return _refusal(problem)
    except Exception:
        # The log has the error, under the request id that API Gateway's log has too.
        logger.exception("the request could not be answered")
        return _refusal(Problem(500, "Internal error", "the request could not be answered; its id is in the logs"))


def _read(event: dict[str, Any]) -> _Request:
    """Read an event in payload format 2.0.

    Its `authorizer.iam` is there only on routes with AWS_IAM: on others API Gateway ignores a signature.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    try:
        context, parameters = event["requestContext"], event.get("queryStringParameters") or {}
        method, path = context["http"]["method"], event["rawPath"]
        caller = ((context.get("authorizer") or {}).get("iam") or {}).get("userArn")
        texts = all(isinstance(text, str) for text in (method, path, *parameters.keys(), *parameters.values()))
    except (AttributeError, KeyError, TypeError):
        texts = False
    if not texts:
        raise Problem(400, "Bad request", "this is no request of API Gateway in payload format 2.0")
    return _Request(method, path, parameters, caller if isinstance(caller, str) else None)


def _route(request: _Request) -> Answer:
    allowed = []
    for verb, pattern, answer, may in _ROUTES:
        if match := re.fullmatch(pattern, request.path):
            if verb == request.method:
                if request.caller is None and may is _May.SIGNED:
                    raise Problem(403, "Not signed", f"{verb} {request.path} needs a signature (AWS SigV4)")
                return answer(request, *match.groups())
            allowed.append(verb)
    if allowed:
        raise Problem(405, "No such method", f"{request.path} answers to {', '.join(allowed)}, not to {request.method}")
    raise Problem(404, "No such address", f"{request.path} is no address of this API: {_ADDRESSES}")


def _list(request: _Request, *, stranger: bool = False) -> Answer:
    return _json(200, _catalogue().page(request.parameters, stranger=stranger))


def _show(request: _Request, image_id: str, *, stranger: bool = False) -> Answer:
    request.refuse_parameters()
    return _json(200, _catalogue().image(image_id, stranger=stranger))


def _variant(request: _Request, image_id: str, name: str, *, stranger: bool = False) -> Answer:
    request.refuse_parameters()
    address = _catalogue().variant_url(image_id, name, stranger=stranger)
    return {"statusCode": 302, "headers": {"Location": address, "Cache-Control": "no-store"}, "body": ""}


def _remove(request: _Request, image_id: str) -> Answer:
    """Accept a removal. It is done by the event of the removed object, like one made in the bucket."""
    request.refuse_parameters()
    _catalogue().remove(image_id)
    return _json(202, {"image_id": image_id, "detail": "the image and its variants are being removed"})


def _health(request: _Request) -> Answer:
    request.refuse_parameters()
    return _json(200, {"status": "ok"})


class _May(Enum):
    """Who may call a route. The API's routes say so too: a mistake in one of the two opens nothing."""

    SIGNED = auto()
    ANYBODY = auto()


_ROUTES: tuple[tuple[str, str, Callable[..., Answer], _May], ...] = (
    ("GET", "/images", _list, _May.SIGNED),
    ("GET", "/images/([^/]+)", _show, _May.SIGNED),
    ("GET", "/images/([^/]+)/variants/([^/]+)", _variant, _May.SIGNED),
    ("DELETE", "/images/([^/]+)", _remove, _May.SIGNED),
    ("GET", "/public/images", partial(_list, stranger=True), _May.ANYBODY),
    ("GET", "/public/images/([^/]+)", partial(_show, stranger=True), _May.ANYBODY),
    ("GET", "/public/images/([^/]+)/variants/([^/]+)", partial(_variant, stranger=True), _May.ANYBODY),
    ("GET", "/health", _health, _May.ANYBODY),
)

_ADDRESSES = "/images, /images/{id} and /images/{id}/variants/{name} are, the same under /public, and /health"


def _refusal(problem: Problem) -> Answer:
    body = {"type": "about:blank", "title": problem.title, "status": problem.status, "detail": problem.detail}
    return _json(problem.status, body, "application/problem+json")


def _json(status: int, body: Any, content_type: str = "application/json") -> Answer:
    return {"statusCode": status, "headers": {"Content-Type": content_type}, "body": json.dumps(body)}


if "TABLE_NAME" in os.environ:  # the clients are made while the function initialises, when it has full CPU
    _catalogue()
