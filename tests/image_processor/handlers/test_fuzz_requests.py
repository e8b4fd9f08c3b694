"""Odd requests on every route: each ends in an answer of the API's own, and none in a 5xx.

`make nightly-requests` sends 10,000; REQUESTS sets another number. A request is an event of payload format 2.0, with
members that are odd, missing or of another type.
"""

import base64
import copy
import json
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from image_processor.handlers import http

from ..conftest import Context, Environment
from .test_handlers import INSIDE, event_of, images, request, secrets  # noqa: F401 (fixtures)

REQUESTS = int(os.environ.get("REQUESTS", "200"))

REFUSALS = {400, 403, 404, 405, 410}

#: Text that has broken parsers: none, NUL, other scripts' digits, lone surrogates, ends of JSON and of lines, length.
ODD_TEXTS = ("", "\0", "٣", "\ud800", '"}', "\r\nSet-Cookie: a=b", "../..", "%2e%2e%2f", "a" * 10_000, "é" * 3000, "𝕏")
texts = st.text(max_size=40) | st.sampled_from(ODD_TEXTS)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(texts, below, max_size=4),
    max_leaves=8,
)


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode(errors="surrogatepass")).decode().rstrip("=")


times = st.sampled_from(("2026-11-28T10:00:00.000000+00:00", "0001-01-01T00:00:00+23:59", "9" * 30, "+" * 20, "T" * 40))
#: A cursor in shape, but of no page: an index may refuse its place.
cursors_in_shape = st.builds(lambda time, one: encoded(json.dumps([f"{time}#{one}", one])), times, st.just("0a" * 16))
deep = st.builds(lambda opening, depth: encoded(opening * depth), st.sampled_from(("[", '{"a":')), st.integers(1, 3000))
cursors = (
    cursors_in_shape | deep | st.builds(lambda value: encoded(json.dumps(value)), json_values) | texts
    | st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode())
)  # fmt: skip

methods = st.sampled_from(("GET", "DELETE", "HEAD", "OPTIONS", "POST", "PUT", "get", "")) | texts


@st.composite
def requests(draw: st.DrawFn, ids: list[str], pages: list[str]) -> dict[str, Any]:
    """Draw an event: mostly on a route, often of an image that is there, with a cursor of this or another listing."""
    image = st.sampled_from(ids) | texts
    name = st.sampled_from(("w64-avif", "thumbnail-jpeg", "w64-avif/", "__class__")) | texts
    tail = draw(
        st.sampled_from(("/images", "/health", "/", ""))
        | st.builds("/images/{}".format, image)
        | st.builds("/images/{}/variants/{}".format, image, name)
        | texts
    )
    statuses = st.sampled_from(("READY", "REJECTED", "FAILED", "PROCESSING", "DELETED", "ready")) | texts
    limits = st.sampled_from(("1", "2", "50", "51", "0", "-1", "1e3", "00001", "NaN")) | texts
    known = {"status": statuses, "limit": limits, "cursor": st.sampled_from(pages) | cursors}
    parameters = draw(st.fixed_dictionaries({}, optional=known) | st.dictionaries(texts, texts, max_size=3))
    event = event_of(draw(st.sampled_from(("", "/public"))) + tail, draw(methods), signed=draw(st.booleans()))
    event["queryStringParameters"] = parameters
    event["headers"] = draw(st.dictionaries(texts, texts, max_size=3))
    return event


@st.composite
def spoilt(draw: st.DrawFn, events: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """Draw an event and remove or exchange one of its members, at any depth."""
    event = copy.deepcopy(draw(events))
    place: Any = event
    while True:
        name = draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[name], dict) and place[name]) or draw(st.booleans()):
            break
        place = place[name]
    if draw(st.booleans()):
        del place[name]
    else:
        place[name] = draw(json_values)
    return event


def judge(event: dict[str, Any]) -> None:
    """Send a request, and refuse every answer that a caller must not get."""
    answer = json.loads(json.dumps(http.api(event, Context())))  # Lambda answers in JSON
    status, headers, body = answer["statusCode"], answer["headers"], answer["body"]
    assert status in REFUSALS | {200, 202, 302}, (status, body)
    assert all(isinstance(value, str) and "\n" not in value for value in headers.values())
    if status in REFUSALS:
        assert headers["Content-Type"] == "application/problem+json"
        assert json.loads(body)["status"] == status
    path = event.get("rawPath")
    caller: Any = event
    for name in ("requestContext", "authorizer", "iam", "userArn"):
        caller = caller.get(name) if isinstance(caller, dict) else None
    if not isinstance(path, str) or not path.startswith("/public/"):
        assert caller or status in REFUSALS or path == "/health", "answered without a signature"
    elif status == 200:
        assert not INSIDE.search(body)


@pytest.fixture
def ids(secrets: dict[str, str]) -> list[str]:  # noqa: F811
    return [*secrets.values(), "f" * 32, "f" * 31, "F" * 32]


@pytest.fixture
def pages(ids: list[str]) -> list[str]:
    """Real cursors of every listing."""
    filters = ({}, {"status": "READY"}, {"status": "REJECTED"}, {"status": "FAILED"})
    answers = [request("/images", limit="1", **one)["body"] for one in filters]
    return [answer["cursor"] for answer in answers if "cursor" in answer]


def test_no_request_ends_in_an_error_of_ours(environment: Environment, ids: list[str], pages: list[str]) -> None:
    odd = requests(ids, pages)

    @settings(
        max_examples=REQUESTS, deadline=None, database=None, suppress_health_check=list(HealthCheck),
        derandomize="REQUESTS" not in os.environ,
    )  # fmt: skip
    @given(odd | spoilt(odd))
    @example({})
    @example({"requestContext": None, "rawPath": None})
    @example({**event_of("/images"), "queryStringParameters": {"cursor": encoded("[" * 1000)}})
    @example({**event_of("/images"), "headers": {"x": "y" * 1_000_000}})
    def send(event: dict[str, Any]) -> None:
        judge(event)

    send()


def test_cursor_of_another_listing_is_a_page_or_a_refusal(ids: list[str], pages: list[str]) -> None:
    """A position in one index is a place in another one, too: never an error of ours."""
    assert len(pages) >= 2
    for cursor in pages:
        for status in ("READY", "REJECTED", "FAILED", "PROCESSING", "DELETED"):
            assert request("/images", status=status, cursor=cursor)["statusCode"] == 200


def test_judge_sees_what_it_must_not_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    event = event_of("/public/images", signed=False)
    for answer in (
        {"statusCode": 500, "headers": {}, "body": "{}"},
        {"statusCode": 200, "headers": {}, "body": '{"images": [{"source": {"key": "a"}}]}'},
        {"statusCode": 302, "headers": {"Location": "a\nb"}, "body": ""},
    ):
        monkeypatch.setattr(http, "api", lambda *_, answer=answer: answer)
        with pytest.raises(AssertionError):
            judge(event)
    monkeypatch.setattr(http, "api", lambda *_: {"statusCode": 202, "headers": {}, "body": "{}"})
    with pytest.raises(AssertionError, match="without a signature"):
        judge(event_of("/images/" + "0" * 32, "DELETE", signed=False))
