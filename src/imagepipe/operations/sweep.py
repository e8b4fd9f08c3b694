"""Which objects of the processed bucket belong to no record, left behind by a process that was killed while it worked.

A sweep never takes anything from running work, for three reasons that hold together:

1.  It looks only at objects that are older than any work that could have written them: Lambda ends a function after
    15 minutes at the latest, so their writer is dead or done, and what it published is in the record. No caller can
    ask for less, and both times are S3's: the clock of the machine that sweeps does not count.
2.  It reads the record, consistently, after it saw the object. If the record does not show the object's key then, the
    writer published nothing, and nothing else refers to what it wrote.
3.  It deletes versions, by their ids. Another delivery of the same event may write the same key again at any moment,
    even between reading the record and the deletion: that is a new version, and it stays.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

#: Lambda's longest timeout (15 minutes), and as much again for clocks that differ.
GRACE = timedelta(minutes=30)


@dataclass(frozen=True)
class Version:
    """One version of an object, or a delete marker (which has no bytes)."""

    key: str
    id: str
    modified: datetime
    size: int = 0  # bytes
    latest: bool = False
    marker: bool = False


@dataclass(frozen=True)
class Orphan:
    """A key that no record shows, with all its versions: if only the newest went, an older one would come back."""

    key: str
    versions: tuple[Version, ...]

    @property
    def size(self) -> int:
        """Return the bytes of all versions."""
        return sum(version.size for version in self.versions)


def versions(page: dict[str, Any]) -> list[Version]:
    """Return what one page of ListObjectVersions holds, in the order of its keys."""
    entries = [
        Version(
            entry["Key"], entry["VersionId"], entry["LastModified"], entry.get("Size", 0), entry["IsLatest"], marker
        )
        for kind, marker in (("Versions", False), ("DeleteMarkers", True))
        for entry in page.get(kind, [])
    ]
    return sorted(entries, key=lambda version: version.key)


def orphans(
    sorted_versions: Iterable[Version], shown: Callable[[str], set[str]], now: datetime, min_age: timedelta = GRACE
) -> Iterator[Orphan]:
    """Return the keys that can be deleted.

    Keys that are deleted already, under a marker, are left to the bucket's lifecycle.

    Args:
        sorted_versions: in the order of their keys.
        shown: reads, consistently, the keys that the record of an image shows. Called after the versions were listed.
        now: by S3's clock, as the versions' times are.
        min_age: keys written within this time before `now` are left alone; `GRACE` if it is shorter than that.
    """
    settled = now - max(min_age, GRACE)
    for key, group in groupby(sorted_versions, key=lambda version: version.key):
        all_of_key = tuple(group)
        if any(version.latest and version.marker for version in all_of_key):
            continue
        if max(version.modified for version in all_of_key) > settled:
            continue
        if key not in shown(key.partition("/")[0]):
            yield Orphan(key, all_of_key)
