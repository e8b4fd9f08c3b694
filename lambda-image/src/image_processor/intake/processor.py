"""One event of one image, start to end."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from time import perf_counter

from image_processor.decoder.process import WorkerFailed
from image_processor.decoder.sandbox import Sandbox
from image_processor.events import NotAnEvent, ObjectEvent
from image_processor.recipe import Recipe, verdict_version
from image_processor.records.items import Record
from image_processor.records.store import SETTLED, Store, is_about, is_newer, tries
from image_processor.rendition import Rendition
from image_processor.sniff import judge_size
from image_processor.verdict import Header, Reason, Rejected

#: What a record tells of a picture, as its rendition has it.
_FACTS = (
    *("exif", "placeholder", "colour", "palette", "phash", "blurriness", "near_black", "near_white"),
    *("notes", "decoded"),
)

#: So often an image may take the process down with it; then it is given up.
DEADLY_TRIES = 3


class Outcome(StrEnum):
    PROCESSED = "PROCESSED"
    #: Another image has the same content: its variants were copied, nothing was decoded.
    LINKED = "LINKED"
    REJECTED = "REJECTED"
    DELETED = "DELETED"
    #: The event was a duplicate or older than what is known: nothing was done.
    SKIPPED = "SKIPPED"


@dataclass(frozen=True)
class Result:
    """What became of an event, for logs and metrics. Times are in milliseconds."""

    outcome: Outcome
    queue_ms: int = 0
    processing_ms: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    reason: Reason | None = None


class Suspect(Exception):
    """Work on this image was begun before and has not ended: it killed the process, or somebody is still at it.

    `age` says how many seconds ago it was begun. In the first case it is to be tried last, in the second it is to wait.
    """

    def __init__(self, begun: int, age: float) -> None:
        super().__init__(f"begun {begun} times, {age:.1f} s ago")
        self.age = age


class GivenUp(Exception):
    """The record says FAILED already. What is left to do is to let the message go to the dead-letter queue."""


class Processor:
    """Permanent errors end here, as records with a reason; every other exception is transient and passes through."""

    def __init__(self, store: Store, recipe: Recipe, sandbox: Sandbox, image_digest: str, upload_bucket: str) -> None:
        self._store, self._recipe, self._sandbox, self._upload_bucket = store, recipe, sandbox, upload_bucket
        self._pipeline = {"recipe": recipe.version, "image": image_digest}
        #: Part of the name of what is made, so that two releases at work on one event never write the same key.
        self.verdict_version = verdict_version(recipe, sandbox.limits, image_digest)

    def handle(self, event: ObjectEvent, delivery: int = 1, *, risk: bool = True, last: bool = False) -> Result:
        """Does what an event asks for. `delivery` counts how often its message came; without `risk`, suspects wait.

        Raises:
            NotAnEvent: it is about another bucket.
            Suspect: without `risk`, for an image that may have killed the process.
            GivenUp: the image killed the process too often, or failed before in this chain of deliveries; or it killed
                the process and this is the `last` delivery, after which nobody could say FAILED if it did so again.
        """
        if event.bucket != self._upload_bucket:
            raise NotAnEvent(f"an event of {event.bucket}, not of {self._upload_bucket}")
        turn = _Turn(delivery, risk, last)
        if event.reprocess:
            return self._again(event, turn)
        if event.created:
            return self._created(event, turn)
        return self._removed(event, turn)

    def give_up(self, event: ObjectEvent, delivery: int, message: str, code: Reason = Reason.PROCESSING_FAILED) -> None:
        """Says FAILED of an image whose message is about to go to the dead-letter queue.

        Not of one that was to be made again: what it shows is as good as before.
        """
        if event.reprocess:
            return
        reason = {"code": code, "message": message[:300]}
        fields = {"reason": reason, "pipeline": self._pipeline, "attempts": delivery}
        before = self._store.publish(event, event.revision, "FAILED", fields)
        if before:
            self._clean_up(event, before, event.revision)

    # --- creations ----------------------------------------------------------------------------------------------------

    def _created(self, event: ObjectEvent, turn: "_Turn") -> Result:
        work = _Work(event, f"{event.revision}.{self.verdict_version}", turn.delivery)
        with self._surviving(work):
            return self._first_made(work, turn)

    def _first_made(self, work: "_Work", turn: "_Turn") -> Result:
        event = work.event
        # A first delivery is most likely a first upload, for which there is nothing to read.
        known = self._store.record(event.image_id) if turn.delivery > 1 else None
        if known and self._is_over(event, known, turn):
            return Result(Outcome.SKIPPED)
        try:
            data, source = self._read(event)
            content, claimed = source["sha256"], known is None
            twin = None
            if claimed:
                claim = self._store.claim(event, content, self._recipe.version)
                known, twin = claim.record, claim.twin
                work.begun = not known and not twin
                if known and self._is_over(event, known, turn):
                    return Result(Outcome.SKIPPED)
            if twin and (linked := self._linked(work, twin, source)):
                return self._publish(work, known, "READY", linked, Outcome.LINKED)
            if known:  # or was: a tombstone may expire at this moment
                work.begun = self._store.try_again(event, known) or self._store.begin(event)
            elif twin:
                work.begun = self._store.begin(event)
            if not work.begun:
                return Result(Outcome.SKIPPED)  # another event, or another delivery of this one, was faster
            fields = self._made(work, data, source)
        except Rejected as rejected:
            return self._publish(work, known, "REJECTED", work.rejected(rejected), Outcome.REJECTED)
        result = self._publish(work, known, "READY", fields, Outcome.PROCESSED)
        if result.outcome is Outcome.PROCESSED and (known or twin):
            self._store.remember(event, content, self._recipe.version)  # the claim that does so failed
        return result

    def _is_over(self, event: ObjectEvent, known: Record, turn: "_Turn") -> bool:
        """Whether a record says that there is nothing left to do for an event.

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
        if begun := self._deaths(event, known, turn):
            message = f"the process died while it worked on this image (tries that ended so: {begun})"
            self.give_up(event, turn.delivery, message, Reason.PROCESS_KILLED)
            raise GivenUp(message)
        return False

    @staticmethod
    def _deaths(event: ObjectEvent, known: Record, turn: "_Turn") -> int:
        """How often an image took the process down, if that was too often for another try; otherwise 0.

        Raises:
            Suspect: as `handle` does.
        """
        begun, age = tries(known, event)
        if begun and (turn.last or (begun >= DEADLY_TRIES and turn.delivery > DEADLY_TRIES)):
            return begun
        if begun and not turn.risk:
            raise Suspect(begun, age)
        return 0

    def _again(self, event: ObjectEvent, turn: "_Turn") -> Result:
        """Makes what a record is about once more, unless it is about something else by now or that is done.

        Done is what was made again by the same recipe, limits and image: with any other, the verdict may be another.
        """
        known = self._store.record(event.image_id)
        revision = f"{event.revision}-{self.verdict_version}"
        if (
            not known
            or not is_about(known, event)
            or known["status"] not in {"READY", "REJECTED", "FAILED"}
            or known["revision"] == revision
        ):
            return Result(Outcome.SKIPPED)
        if begun := self._deaths(event, known, turn):
            raise GivenUp(f"the process died while it made this image again (tries that ended so: {begun})")
        work = _Work(event, revision, turn.delivery)
        work.begun = self._store.try_again(event, known)
        if not work.begun:
            return Result(Outcome.SKIPPED)
        with self._surviving(work):
            status, outcome = "READY", Outcome.PROCESSED
            try:
                data, source = self._read(event)
                fields = self._made(work, data, source)
            except Rejected as rejected:
                if rejected.reason is Reason.OBJECT_GONE:
                    return Result(Outcome.SKIPPED)  # the event of its removal is on its way
                status, outcome, fields = "REJECTED", Outcome.REJECTED, work.rejected(rejected)
            return self._publish(work, known, status, fields, outcome, instead_of=known)

    @contextmanager
    def _surviving(self, work: "_Work") -> Iterator[None]:
        """Notes of work that failed that it did not take the process down. Where even that fails, it counts as if."""
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
        """The object's bytes and what is known of them without looking into them."""
        if event.size is not None:
            judge_size(event.size, self._sandbox.limits)
        found = self._store.source(event)
        judge_size(found["ContentLength"], self._sandbox.limits)
        data = found["Body"].read()
        digest = hashlib.sha256(data).hexdigest()
        source = {"bytes": len(data), "sha256": digest, "content_type": found["ContentType"]}
        return data, {**source, **_focal_point(found.get("Metadata", {}))}

    def _made(self, work: "_Work", data: bytes, source: Record) -> Record:
        """Makes and writes the variants; returns the fields of the record that shows them."""
        work.source = source
        try:
            rendered = self._sandbox.render(data, self._recipe, source.get("focal_point"))
        except (Rejected, WorkerFailed) as error:
            source.update(_format(error.header))
            raise
        rendition = rendered.rendition
        variants = self._store.put_variants(work.event.image_id, work.revision, rendition.variants)
        work.bytes_out = sum(variant["bytes"] for variant in variants.values())
        source.update(_format(rendered.header), **_shape(rendered.header, rendition))
        return {"source": source, "variants": variants, **{name: getattr(rendition, name) for name in _FACTS}}

    def _linked(self, work: "_Work", twin: str, source: Record) -> Record | None:
        """The fields of a record that shows copies of another image's variants, if that image has the same content."""
        other = self._store.record(twin)
        if (
            not other
            or other["status"] != "READY"
            or any(other["source"].get(name) != source.get(name) for name in ("sha256", "focal_point"))
            or other["pipeline"]["recipe"] != self._recipe.version
        ):
            return None
        variants = self._store.copy_variants(work.event.image_id, work.revision, other["variants"])
        if variants is None:
            return None
        work.source = source
        own = {"bucket", "key", "version_id", "etag", *source}
        copied = {name: value for name, value in other["source"].items() if name not in own}
        fields: Record = {name: other[name] for name in _FACTS if name in other}
        linked_to = {"image_id": other["image_id"], "revision": other["revision"]}
        return {**fields, "source": {**source, **copied}, "variants": variants, "linked_to": linked_to}

    def _publish(
        self,
        work: "_Work",
        known: Record | None,
        status: str,
        fields: Record,
        outcome: Outcome,
        *,
        instead_of: Record | None = None,
    ) -> Result:
        event = work.event
        everything = {"pipeline": self._pipeline, "attempts": work.delivery, "timings": work.timings(), **fields}
        before = self._store.publish(event, work.revision, status, everything, instead_of=instead_of)
        if before is None:
            # A newer event was faster: what was written is ours to take away. Or another delivery of this very event
            # was, or the answer to our own write got lost: it has the same keys, and they belong to the record now.
            winner = self._store.record(event.image_id)
            if winner and self._is_lost(work, winner):
                self._store.delete_variants(event.image_id, work.revision)
            elif winner and known and winner["revision"] == work.revision:
                self._clean_up(event, known, work.revision)
            return Result(Outcome.SKIPPED)
        self._clean_up(event, before, work.revision)
        reason = fields.get("reason", {}).get("code")
        size = work.source.get("bytes", event.size or 0)
        timings = work.timings()
        return Result(outcome, timings["queue_ms"], timings["processing_ms"], size, work.bytes_out, reason)

    @staticmethod
    def _is_lost(work: "_Work", winner: Record) -> bool:
        """Whether nobody can publish a revision any more, this attempt or another that writes the same keys."""
        if winner["revision"] == work.revision and winner.get("variants"):
            return False
        return is_newer(winner, work.event) or (not work.event.reprocess and winner["status"] in SETTLED)

    def _clean_up(self, event: ObjectEvent, before: Record, revision: str) -> None:
        """Takes away what a record showed before it showed another revision."""
        if before.get("variants") and before["revision"] != revision:
            self._store.delete_variants(event.image_id, before["revision"])

    # --- removals -----------------------------------------------------------------------------------------------------

    def _removed(self, event: ObjectEvent, turn: "_Turn") -> Result:
        if event.of_one_version and (there := self._store.current(event)):
            # One version less says nothing of the object. What lies there now does, be it older than what is gone (a
            # delete marker was removed) or newer; and it is this event that we know of, so the record takes its place.
            version = there.get("VersionId")
            while (known := self._store.record(event.image_id)) and _shows(known, version):
                # Already shown: nothing is to be made, but what happened before this event must not undo it.
                if is_newer(known, event) or is_about(known, event) or self._store.advance(event, known):
                    return Result(Outcome.SKIPPED)
            size, etag = there["ContentLength"], there["ETag"].strip('"')
            now = replace(event, created=True, of_one_version=False, version_id=version, size=size, etag=etag)
            return self._created(now, turn)
        before = self._store.bury(event)
        if before is None:
            return Result(Outcome.SKIPPED)
        if before:
            self._clean_up(event, before, "")
        return Result(Outcome.DELETED)


def _shows(known: Record, version_id: str | None) -> bool:
    """Whether a record tells what became of a version of its object."""
    return known["status"] in {"READY", "REJECTED"} and known["source"].get("version_id") == version_id


@dataclass(frozen=True)
class _Turn:
    """One delivery of a message, as `Processor.handle` is told of it."""

    delivery: int
    risk: bool
    last: bool


class _Work:
    """One attempt: what it is for, and what it came to so far."""

    def __init__(self, event: ObjectEvent, revision: str, delivery: int) -> None:
        self.event, self.revision, self.delivery = event, revision, delivery
        self.source: Record = {}
        self.bytes_out = 0
        #: A note of it is in the record: it would be missed if the process died.
        self.begun = False
        self._began = perf_counter()
        self._queue_ms = max(0, round((datetime.now(UTC) - event.time).total_seconds() * 1000))

    def timings(self) -> dict[str, int]:
        return {"queue_ms": self._queue_ms, "processing_ms": round((perf_counter() - self._began) * 1000)}

    def rejected(self, rejected: Rejected) -> Record:
        return {"reason": {"code": rejected.reason, "message": rejected.message}, "source": self.source}


def _focal_point(metadata: dict[str, str]) -> Record:
    """Where the uploader says the subject is, `focal-point: 0.3,0.7` in the object's metadata: rightwards, downwards.

    What cannot be meant is ignored, and the record says so: it is no reason to refuse the image.
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
