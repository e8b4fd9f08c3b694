"""Processes one event of one image, from start to end."""

import hashlib
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from time import monotonic, perf_counter

from image_processor.decoder.process import OutOfTime, WorkerFailed
from image_processor.decoder.sandbox import Sandbox
from image_processor.events import NotAnEvent, ObjectEvent
from image_processor.recipe import Recipe, verdict_version
from image_processor.records.items import Record
from image_processor.records.store import Store, is_about, is_newer, tries
from image_processor.records.table import SETTLED
from image_processor.rendition import Rendition
from image_processor.sniff import judge_size
from image_processor.telemetry import logger
from image_processor.verdict import Header, Reason, Rejected

#: Fields of a rendition that a record keeps.
_FACTS = (
    *("exif", "placeholder", "colour", "palette", "phash", "blurriness", "near_black", "near_white"),
    *("notes", "decoded"),
)

#: Number of process deaths an image may cause before it is marked FAILED.
DEADLY_TRIES = 3

#: An image is not begun with fewer seconds: to read it takes as long.
_LEAST_SECONDS = 1

#: Number of times that one delivery reads a record again because another writer was faster.
_ROUNDS = 10


class Effect(StrEnum):
    """The effect of an event."""

    PROCESSED = "PROCESSED"
    #: Another image has the same content: its variants were copied, and nothing was decoded.
    LINKED = "LINKED"
    REJECTED = "REJECTED"
    DELETED = "DELETED"
    #: The event was a duplicate or older than the record: nothing was changed.
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Result:
    """The effect of an event, for logs and metrics. Times are in milliseconds."""

    effect: Effect
    queue_ms: int = 0
    processing_ms: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    reason: Reason | None = None


_SKIPPED = Result(Effect.SKIPPED)


class Suspect(Exception):
    """Work on this image was begun before and has not ended: it killed the process, or another worker is still at it.

    `age` is the number of seconds since then. An image that killed the process is tried last; the other case waits.
    """

    def __init__(self, begun: int, age: float) -> None:
        super().__init__(f"begun {begun} times, {age:.1f} s ago")
        self.age = age


class GivenUp(Exception):
    """The record says FAILED already; the message only needs to go to the dead-letter queue."""


class Overtaken(Exception):
    """The record changed again and again before work could begin. Another delivery may be luckier."""


@dataclass(frozen=True)
class _Turn:
    """One delivery of a message, with the arguments of `Processor.handle`."""

    delivery: int
    risk: bool
    last: bool
    until: float  # a time of `monotonic`


class _Work:
    """One attempt at an event."""

    def __init__(self, event: ObjectEvent, revision: str, delivery: int, known: Record | None) -> None:
        self.event, self.revision, self.delivery = event, revision, delivery
        #: The record as it was last read, before this work changed it.
        self.known = known
        #: The record notes the attempt, so that it is missed if the process dies.
        self.begun = False
        self._started = perf_counter()
        self._queue_ms = max(0, round((datetime.now(UTC) - event.time).total_seconds() * 1000))

    def timings(self) -> dict[str, int]:
        """Return the milliseconds spent in the queue and on this attempt."""
        return {"queue_ms": self._queue_ms, "processing_ms": round((perf_counter() - self._started) * 1000)}


class Processor:
    """Processes events. A permanent error ends as a record with a reason; any other exception is transient."""

    def __init__(self, store: Store, recipe: Recipe, sandbox: Sandbox, image_digest: str, upload_bucket: str) -> None:
        self._store, self._recipe, self._sandbox, self._upload_bucket = store, recipe, sandbox, upload_bucket
        #: Part of the name of a revision, so that two releases at work on one event never write the same key.
        self.verdict_version = verdict_version(recipe, sandbox.limits, image_digest)
        self._pipeline = {"recipe": recipe.version, "image": image_digest, "verdict": self.verdict_version}

    def handle(
        self,
        event: ObjectEvent,
        delivery: int = 1,
        *,
        risk: bool = True,
        last: bool = False,
        seconds: float = math.inf,
    ) -> Result:
        """Process an event. `delivery` counts the deliveries of its message; without `risk`, suspects wait.

        After so many `seconds`, decoding is stopped.

        Raises:
            NotAnEvent: it is about another bucket.
            OutOfTime: the image is not decoded by then.
            Suspect: without `risk`, for an image that may have killed the process.
            GivenUp: the image killed the process too often, or failed before in this chain of deliveries; or it killed
                the process and this is the `last` delivery: if it did so again, nobody could write FAILED.
        """
        if event.bucket != self._upload_bucket:
            raise NotAnEvent(f"an event of {event.bucket}, not of {self._upload_bucket}")
        turn = _Turn(delivery, risk, last, monotonic() + seconds)
        if event.reprocess:
            return self._reprocess(event, turn)
        if event.created:
            return self._process_upload(event, turn)
        return self._process_removal(event, turn)

    def give_up(self, event: ObjectEvent, delivery: int, message: str, code: Reason = Reason.PROCESSING_FAILED) -> None:
        """Write FAILED for an image whose message is about to go to the dead-letter queue.

        An order to make an image again writes nothing: the image shows what it showed before.
        """
        if event.reprocess:
            return
        reason = {"code": code, "message": message[:300]}
        fields = {"reason": reason, "pipeline": self._pipeline, "attempts": delivery}
        before = self._store.publish(event, event.revision, "FAILED", fields)
        if before:
            self._clean_up(event, before, event.revision)

    # --- creations ----------------------------------------------------------------------------------------------------

    def _process_upload(self, event: ObjectEvent, turn: _Turn) -> Result:
        known = self._store.record(event.image_id)
        if known and self._is_over(event, known, turn):
            return _SKIPPED
        if monotonic() > turn.until - _LEAST_SECONDS:
            raise OutOfTime("the function had no time left to begin with it")
        work = _Work(event, f"{event.revision}.{self.verdict_version}", turn.delivery, known)
        with self._count_survival(work):
            return self._link_or_make(work, turn)

    def _link_or_make(self, work: _Work, turn: _Turn) -> Result:
        source: Record = {}
        try:
            data, source = self._read(work.event)
            if linked := self._link_to_twin(work, source):
                return self._publish(work, "READY", linked, Effect.LINKED)
            if not self._begin(work, turn):
                return _SKIPPED
            fields = self._make_variants(work, data, source, turn.until)
        except Rejected as rejected:
            return self._publish(work, "REJECTED", _refusal(rejected, source), Effect.REJECTED)
        result = self._publish(work, "READY", fields, Effect.PROCESSED)
        if result.effect is Effect.PROCESSED:
            self._remember(work.event, source["sha256"])
        return result

    def _begin(self, work: _Work, turn: _Turn) -> bool:
        """Note in the record that work begins; return False if the record leaves nothing to do for the event.

        If another writer was faster, its record decides: it may be older, or of work on this event that may yet die.

        Raises:
            Overtaken: other writers were faster every time.
            Suspect, GivenUp: as `handle` does.
        """
        event = work.event
        for _ in range(_ROUNDS):
            known = work.known
            work.begun = self._store.try_again(event, known) if known else self._store.begin(event)
            if work.begun:
                return True
            work.known = self._store.record(event.image_id)
            if work.known and self._is_over(event, work.known, turn):
                return False
        raise Overtaken(f"other writers were faster {_ROUNDS} times")

    def _remember(self, event: ObjectEvent, content: str) -> None:
        """Remember the content of an image that is shown; without this memory it would be made once more elsewhere."""
        try:
            self._store.remember(event, content, self.verdict_version)
        except Exception:  # an optimisation must not become a failure
            logger.warning("a content could not be remembered", exc_info=True)

    def _is_over(self, event: ObjectEvent, known: Record, turn: _Turn) -> bool:
        """Return whether a record leaves nothing to do for an event.

        Raises:
            Suspect, GivenUp: as `handle` does.
        """
        if is_newer(known, event):
            return True
        if is_about(known, event):
            if known["status"] in SETTLED:
                return True
            if known["status"] == "FAILED" and turn.delivery > int(known.get("attempts", turn.delivery)):
                raise GivenUp("the image has failed")
        if begun := self._count_deaths(event, known, turn):
            message = f"the process died while it worked on this image ({begun} times)"
            self.give_up(event, turn.delivery, message, Reason.PROCESS_KILLED)
            raise GivenUp(message)
        return False

    @staticmethod
    def _count_deaths(event: ObjectEvent, known: Record, turn: _Turn) -> int:
        """Return how often an image killed the process if that forbids another try, otherwise 0.

        Raises:
            Suspect: as `handle` does.
        """
        begun, age = tries(known, event)
        if begun and (turn.last or (begun >= DEADLY_TRIES and turn.delivery > DEADLY_TRIES)):
            return begun
        if begun and not turn.risk:
            raise Suspect(begun, age)
        return 0

    def _reprocess(self, event: ObjectEvent, turn: _Turn) -> Result:
        """Make an image again, unless its record is about something else by now, or that is done already.

        It is done if the same recipe, limits and image made it again: with any other, the verdict may differ. An object
        that S3 did not give out may be readable by now.
        """
        known = self._store.record(event.image_id)
        revision = f"{event.revision}-{self.verdict_version}"
        if (
            not known
            or not is_about(known, event)
            or known["status"] not in {"READY", "REJECTED", "FAILED"}
            or (known["revision"] == revision and not _is_unreadable(known))
        ):
            return _SKIPPED
        if begun := self._count_deaths(event, known, turn):
            raise GivenUp(f"the process died while it made this image again ({begun} times)")
        work = _Work(event, revision, turn.delivery, known)
        work.begun = self._store.try_again(event, known)
        if not work.begun:
            return _SKIPPED
        with self._count_survival(work):
            source: Record = {}
            try:
                data, source = self._read(event)
                fields = self._make_variants(work, data, source, turn.until)
                status, effect = "READY", Effect.PROCESSED
            except Rejected as rejected:
                if rejected.reason is Reason.OBJECT_GONE:
                    return _SKIPPED  # the event of its removal is on its way
                if rejected.reason is Reason.UNREADABLE_OBJECT and known["status"] == "READY":
                    raise GivenUp(rejected.message) from None  # archived since: it goes on showing what it shows
                status, effect, fields = "REJECTED", Effect.REJECTED, _refusal(rejected, source)
            return self._publish(work, status, fields, effect, instead_of=known)

    @contextmanager
    def _count_survival(self, work: _Work) -> Iterator[None]:
        """Record that the process survived work that raised. If that write fails too, it counts as a process death."""
        try:
            yield
        except (GivenUp, Suspect):
            raise
        except Exception:
            if work.begun:
                with suppress(Exception):
                    self._store.survived(work.event)
            raise

    def _read(self, event: ObjectEvent) -> tuple[bytes, Record]:
        """Return the object's bytes, and the facts about them that need no decoder."""
        if event.size is not None:
            judge_size(event.size, self._sandbox.limits)
        stored = self._store.source(event)
        judge_size(stored["ContentLength"], self._sandbox.limits)
        data = stored["Body"].read()
        digest = hashlib.sha256(data).hexdigest()
        source = {"bytes": len(data), "sha256": digest, "content_type": stored.get("ContentType")}
        known = {name: value for name, value in source.items() if value is not None}
        return data, {**known, **_focal_point(stored.get("Metadata", {}))}

    def _make_variants(self, work: _Work, data: bytes, source: Record, until: float) -> Record:
        """Make and write the variants; return the fields of the record that shows them. Adds to `source`."""
        try:
            rendered = self._sandbox.render(data, self._recipe, source.get("focal_point"), until - monotonic())
        except (Rejected, WorkerFailed) as error:
            source.update(_format(error.header))
            raise
        rendition = rendered.rendition
        variants = self._store.put_variants(work.event.image_id, work.revision, rendition.variants)
        source.update(_format(rendered.header), **_shape(rendered.header, rendition))
        return {"source": source, "variants": variants, **{name: getattr(rendition, name) for name in _FACTS}}

    def _link_to_twin(self, work: _Work, source: Record) -> Record | None:
        """Copy the variants of an image with the same content; return the fields of the record that shows the copies.

        Return None if no such image is remembered or it shows something else by now. The verdict version must be the
        same: then this release, under these limits, would make the same of it, and the record names who made it.
        """
        holder = self._store.holder(source["sha256"], self.verdict_version)
        twin = self._store.record(holder) if holder and holder != work.event.image_id else None
        if (
            not twin
            or twin["status"] != "READY"
            or any(twin["source"].get(name) != source.get(name) for name in ("sha256", "focal_point"))
            or twin["pipeline"].get("verdict") != self.verdict_version
        ):
            return None
        variants = self._store.copy_variants(work.event.image_id, work.revision, twin["variants"])
        if variants is None:
            return None
        own = {"bucket", "key", "version_id", "etag", *source}
        copied = {name: value for name, value in twin["source"].items() if name not in own}
        fields: Record = {name: twin[name] for name in _FACTS if name in twin}
        linked_to = {"image_id": twin["image_id"], "revision": twin["revision"]}
        return {**fields, "source": {**source, **copied}, "variants": variants, "linked_to": linked_to}

    def _publish(
        self,
        work: _Work,
        status: str,
        fields: Record,
        effect: Effect,
        *,
        instead_of: Record | None = None,
    ) -> Result:
        event = work.event
        everything = {"pipeline": self._pipeline, "attempts": work.delivery, "timings": work.timings(), **fields}
        before = self._store.publish(event, work.revision, status, everything, instead_of=instead_of)
        if before is None:
            # A newer event was faster: then our variants must go. Or another delivery of this very event was faster, or
            # the answer to our own write got lost: then the variants have the same keys and belong to the record.
            winner = self._store.record(event.image_id)
            if winner and self._is_lost(work, winner):
                self._store.delete_variants(event.image_id, work.revision)
            elif winner and work.known and winner["revision"] == work.revision:
                self._clean_up(event, work.known, work.revision)
            return _SKIPPED
        self._clean_up(event, before, work.revision)
        reason = fields.get("reason", {}).get("code")
        size = fields["source"].get("bytes", event.size or 0)
        written = fields.get("variants", {}) if effect is Effect.PROCESSED else {}
        bytes_out = sum(variant["bytes"] for variant in written.values())
        return Result(effect, **work.timings(), bytes_in=size, bytes_out=bytes_out, reason=reason)

    @staticmethod
    def _is_lost(work: _Work, winner: Record) -> bool:
        """Return whether no attempt that writes the same keys can publish them any more."""
        if winner["revision"] == work.revision and winner.get("variants"):
            return False
        return is_newer(winner, work.event) or (not work.event.reprocess and winner["status"] in SETTLED)

    def _clean_up(self, event: ObjectEvent, before: Record, revision: str) -> None:
        """Delete the variants that a record showed before it showed another revision."""
        if before.get("variants") and before["revision"] != revision:
            self._store.delete_variants(event.image_id, before["revision"])

    # --- removals -----------------------------------------------------------------------------------------------------

    def _process_removal(self, event: ObjectEvent, turn: _Turn) -> Result:
        if event.of_one_version and (current := self._store.current(event)) is not None:
            # The removal of one version leaves the object. Its current version decides, which may be older than the
            # removed one (a delete marker was removed) or newer. The record takes this event's place in the order.
            version = current.get("VersionId")
            while (known := self._store.record(event.image_id)) and _shows(known, version):
                # The record shows it already. Only its place is updated, so that earlier events do not undo it.
                if is_newer(known, event) or is_about(known, event) or self._store.advance(event, known):
                    return _SKIPPED
            size, etag = current.get("ContentLength"), current.get("ETag", "").strip('"')
            now = replace(event, created=True, of_one_version=False, version_id=version, size=size, etag=etag or None)
            return self._process_upload(now, turn)
        before = self._store.bury(event)
        if before is None:
            return _SKIPPED
        if before:
            self._clean_up(event, before, "")
        return Result(Effect.DELETED)


def _shows(known: Record, version_id: str | None) -> bool:
    """Return whether a record shows the verdict on a version of its object."""
    return known["status"] in {"READY", "REJECTED"} and known["source"].get("version_id") == version_id


def _is_unreadable(known: Record) -> bool:
    return bool(known.get("reason", {}).get("code") == Reason.UNREADABLE_OBJECT)


def _refusal(rejected: Rejected, source: Record) -> Record:
    """Return the fields of the record of a refused image."""
    return {"reason": {"code": rejected.reason, "message": rejected.message}, "source": source}


def _focal_point(metadata: dict[str, str]) -> Record:
    """Read the uploader's focal point, `focal-point: 0.3,0.7` (rightwards, downwards) in the object's metadata.

    A malformed value is ignored and noted in the record; it does not reject the image.
    """
    if (text := metadata.get("focal-point")) is None:
        return {}
    if re.fullmatch(r"\s*[01]?(\.\d{1,6})?\s*,\s*[01]?(\.\d{1,6})?\s*", text) and re.search(r"\d.*,.*\d", text):
        point = [float(part) for part in text.split(",")]
        if max(point) <= 1:
            return {"focal_point": point}
    return {"focal_point_ignored": text[:50]}


def _format(header: Header | None) -> Record:
    return {"format": header.format} if header else {}


def _shape(header: Header, rendition: Rendition) -> Record:
    return {
        "width": rendition.width,
        "height": rendition.height,
        "orientation": header.orientation,
        "colour_space": header.colour_space,
        "frames": header.frames,
    }
