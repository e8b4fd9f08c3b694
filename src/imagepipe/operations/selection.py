"""Which images to make again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime

from imagepipe.operations.moments import moment
from imagepipe.operations.records import Record, reason_code

#: What can be made again: what was decided once, and is not removed.
STATUSES = ("READY", "REJECTED", "FAILED")


@dataclass(frozen=True)
class Selection:
    """What is set must hold; what is empty holds for every image. Times are of the image's last event."""

    image_ids: tuple[str, ...] = ()
    prefix: str = ""
    since: str = ""  # as people write it: 2h is two hours before now, whenever that is
    until: str = ""
    recipe: str | None = None  # made with this version of the recipe
    not_recipe: str | None = None  # made with any other than this
    statuses: tuple[str, ...] = ("READY",)
    reason: str | None = None

    def takes(self, record: Record) -> bool:
        recipe = (record.get("pipeline") or {}).get("recipe")
        return (
            record["status"] in self.statuses
            and record["source"]["key"].startswith(self.prefix)
            and (self.recipe is None or recipe == self.recipe)
            and (self.not_recipe is None or recipe != self.not_recipe)
            and (self.reason is None or reason_code(record) == self.reason)
        )

    def window(self) -> tuple[datetime | None, datetime | None]:
        """Raises PipelineError for what is no time."""
        return moment(self.since) if self.since else None, moment(self.until) if self.until else None

    @property
    def name(self) -> str:
        """The same for the same selection, and for no other."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]
