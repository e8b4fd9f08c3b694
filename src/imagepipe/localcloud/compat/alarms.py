"""Metric alarms as Terraform puts and reads them."""

import functools
import http
import json
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from ministack.services import cloudwatch

_Params = dict[str, Any]
_Response = tuple[int, dict[str, str], bytes]


def keep_whole_alarms() -> None:
    """Store all members of a metric alarm, and return them over the query protocol, which Terraform speaks.

    Upstream drops some members of PutMetricAlarm, adds a Statistic to an ExtendedStatistic and a Period to
    metric maths, and returns few members, although it returns all in JSON. So every plan shows changes.
    """
    put, describe = cloudwatch._put_metric_alarm, cloudwatch._describe_alarms

    @functools.wraps(put)
    def put_whole(params: _Params, cbor_data: _Params, is_cbor: bool, is_json: bool = False) -> _Response:
        answer: _Response = put(params, cbor_data, is_cbor, is_json)
        if answer[0] == http.HTTPStatus.OK:
            sent = cbor_data if is_cbor or is_json else _query_document(params)
            alarm = cloudwatch._alarms[sent["AlarmName"]]
            for member in ("EvaluateLowSampleCountPercentile", "InsufficientDataActions", "Metrics"):
                if member in sent:
                    alarm[member] = sent[member]
            for member in ("Period", "Statistic"):
                if member not in sent:
                    del alarm[member]
        return answer

    @functools.wraps(describe)
    def describe_whole(params: _Params, cbor_data: _Params, is_cbor: bool, is_json: bool = False) -> _Response:
        if is_cbor or is_json:
            return describe(params, cbor_data, is_cbor, is_json)  # type: ignore[no-any-return]
        status, _, body = describe(params, _query_document(params), False, is_json=True)
        if status != http.HTTPStatus.OK:
            return describe(params, cbor_data, is_cbor, is_json)  # type: ignore[no-any-return]
        inner = f"<DescribeAlarmsResult>{_query_xml(json.loads(body))}</DescribeAlarmsResult>"
        return cloudwatch._xml(http.HTTPStatus.OK, "DescribeAlarmsResponse", inner)  # type: ignore[no-any-return]

    cloudwatch._put_metric_alarm = put_whole
    cloudwatch._describe_alarms = describe_whole


def _query_document(params: _Params) -> dict[str, Any]:
    """Return query parameters (`A.member.1.B=c`, values in lists) as a document of the JSON protocol."""
    document: dict[str, Any] = {}
    for name in sorted(params, key=lambda name: [part.zfill(4) for part in name.split(".")]):
        *path, last = name.replace(".member.", ".").split(".")
        place = document
        for part in path:
            place = place.setdefault(part, {})
        place[last] = params[name][0] if isinstance(params[name], list) else params[name]
    return _with_lists(document)  # type: ignore[no-any-return]


def _with_lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if value and all(key.isdigit() for key in value):
        return [_with_lists(member) for member in value.values()]
    return {key: _with_lists(member) for key, member in value.items()}


def _query_xml(value: Any, name: str = "") -> str:
    """Return a JSON document in the XML of the query protocol: `member` elements in lists, times in ISO 8601."""
    if isinstance(value, dict):
        return "".join(
            f"<{key}>{_query_xml(member, key)}</{key}>" for key, member in value.items() if member is not None
        )
    if isinstance(value, list):
        return "".join(f"<member>{_query_xml(member)}</member>" for member in value)
    if isinstance(value, bool):
        return str(value).lower()
    if name.endswith("Timestamp"):
        return datetime.fromtimestamp(float(value), UTC).isoformat()
    return escape(str(value))
