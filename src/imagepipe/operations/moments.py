"""Times as people type them."""

import re
from datetime import UTC, datetime, timedelta

from imagepipe.errors import PipelineError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(text: str) -> timedelta:
    """30s, 15m, 2h or 7d.

    Raises:
        PipelineError: anything else.
    """
    if match := re.fullmatch(r"(\d+)([smhd])", text):
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    raise PipelineError(f"{text!r} is no length of time: 30s, 15m, 2h and 7d are")


def moment(text: str) -> datetime:
    """A date or time in ISO 8601, in UTC unless it says another zone, or how long ago it was: 15m, 2h, 7d.

    Raises:
        PipelineError: anything else.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC) - duration(text)
        except PipelineError:
            raise PipelineError(f"{text!r} is no time: 2026-01-31, 2026-01-31T04:30 and 2h (ago) are") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
