"""Events on EventBridge."""

import functools
from typing import Any

from ministack.core.responses import error_response_json
from ministack.services import eventbridge

#: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
_MOST_BYTES = 256 * 1024


def limit_bytes_of_put_events() -> None:
    """Refuse a PutEvents whose entries take 256 KB or more together.

    Upstream takes entries of any size.
    """
    put_events = eventbridge._put_events

    @functools.wraps(put_events)
    def put_events_that_fit(data: dict[str, Any], *rest: Any, **options: Any) -> Any:
        if sum(map(_size, data.get("Entries", []))) >= _MOST_BYTES:
            message = "Total size of the entries in the request is over the limit."
            return error_response_json("ValidationException", message, 400)
        return put_events(data, *rest, **options)

    eventbridge._put_events = put_events_that_fit


def _size(entry: dict[str, Any]) -> int:
    """Return the bytes of an entry as AWS counts them."""
    texts = [entry.get(name) or "" for name in ("Source", "DetailType", "Detail")] + (entry.get("Resources") or [])
    return sum(len(text.encode()) for text in texts) + (14 if "Time" in entry else 0)
