"""Which images to reprocess, and the times that select them."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from imagepipe.errors import PipelineError
from imagepipe.operations.records import Record, reason_code

#: Statuses of images that can be reprocessed: processing has ended, and the image was not deleted.
STATUSES = ("READY", "REJECTED", "FAILED")

#: Years of the longest length of time. More is a slip, and leaves the calendar.
LONGEST = 100

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Selection:
    """Conditions that must all hold; an empty one holds for every image. Times are of the image's last event."""

    image_ids: tuple[str, ...] = ()
    prefix: str = ""
    since: str = ""  # as typed: 2h means two hours before the command runs
    until: str = ""
    recipe: str | None = None  # made with this version of the recipe
    not_recipe: str | None = None  # made with any other version than this
    statuses: tuple[str, ...] = ("READY",)
    reason: str | None = None

    def takes(self, record: Record) -> bool:
        """Return whether every condition but the times and ids holds for a record."""
        recipe = (record.get("pipeline") or {}).get("recipe")
        return (
            record["status"] in self.statuses
            and record["source"]["key"].startswith(self.prefix)
            and (self.recipe is None or recipe == self.recipe)
            and (self.not_recipe is None or recipe != self.not_recipe)
            and (self.reason is None or reason_code(record) == self.reason)
        )

    def window(self) -> tuple[datetime | None, datetime | None]:
        """Return `since` and `until` as moments.

        Raises:
            PipelineError: one of them is not a time.
        """
        return moment(self.since) if self.since else None, moment(self.until) if self.until else None

    @property
    def name(self) -> str:
        """Return a name that is the same for equal selections and differs for others."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]


def duration(text: str) -> timedelta:
    """Read a length of time: 30s, 15m, 2h or 7d.

    Raises:
        PipelineError: the text is anything else.
    """
    if match := re.fullmatch(r"([0-9]+)([smhd])", text):
        if len(match[1]) > 10 or (length := timedelta(**{_UNITS[match[2]]: int(match[1])})) > timedelta(365 * LONGEST):
            raise PipelineError(f"{text[:50]!r} is longer than {LONGEST} years: write a shorter time, like 7d")
        return length
    raise PipelineError(f"{text!r} is not a length of time: write it like 30s, 15m, 2h or 7d")


def moment(text: str) -> datetime:
    """Read a date or time in ISO 8601, or how long ago it was: 15m, 2h, 7d. Without a zone it is UTC.

    Raises:
        PipelineError: the text is anything else.
    """
    if re.fullmatch(r"[0-9]+[smhd]", text):
        return datetime.now(UTC) - duration(text)
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (OverflowError, ValueError):  # of a moment before the year 1, the first
        example = "2026-01-31, 2026-01-31T04:30 or 2h (two hours ago)"
        raise PipelineError(f"{text[:50]!r} is not a time: write it like {example}") from None
