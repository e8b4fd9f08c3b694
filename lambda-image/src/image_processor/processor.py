"""One event of one image, start to end."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from time import perf_counter
from typing import Any

from image_processor import engine, gate
from image_processor.events import ObjectEvent
from image_processor.gate import Header, Reason, Rejected
from image_processor.recipe import Limits, Recipe
from image_processor.store import SETTLED, Record, Store


class Outcome(StrEnum):
    PROCESSED = "PROCESSED"
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


class Processor:
    """Permanent errors end here, as records with a reason; every other exception is transient and passes through."""

    def __init__(self, store: Store, recipe: Recipe, limits: Limits, image_digest: str) -> None:
        self._store, self._recipe, self._limits = store, recipe, limits
        self._pipeline = {"recipe": recipe.version, "image": image_digest}

    def handle(self, event: ObjectEvent) -> Result:
        known = self._store.record(event.image_id)
        if known and (
            known["sequencer"] > event.sequencer
            or (known["sequencer"] == event.sequencer and known["status"] in SETTLED)
        ):
            return Result(Outcome.SKIPPED)
        return self._created(event, known) if event.created else self._removed(event, known)

    def give_up(self, event: ObjectEvent, message: str) -> None:
        """Says FAILED of an image whose message is about to go to the dead-letter queue."""
        known = self._store.record(event.image_id)
        reason = {"code": Reason.PROCESSING_FAILED, "message": message[:300]}
        self._store.publish(event, known, "FAILED", {"reason": reason, "pipeline": self._pipeline})

    def _created(self, event: ObjectEvent, known: Record | None) -> Result:
        started = perf_counter()
        queue_ms = max(0, round((datetime.now(UTC) - event.time).total_seconds() * 1000))
        if known is None:
            self._store.begin(event)
        source: Record = {}
        fields: Record = {"pipeline": self._pipeline, "source": source}
        reason, bytes_out = None, 0
        try:
            header, rendition = self._render(event, source)
        except Rejected as rejected:
            reason = rejected.reason
            fields["reason"] = {"code": reason, "message": rejected.message}
        else:
            variants = self._store.put_variants(event, rendition.variants)
            bytes_out = sum(variant["bytes"] for variant in variants.values())
            source.update(_shape(header, rendition))
            fields |= {
                "variants": variants,
                "exif": rendition.exif,
                "placeholder": rendition.placeholder,
                "colour": rendition.colour,
            }
        processing_ms = round((perf_counter() - started) * 1000)
        fields["timings"] = {"queue_ms": queue_ms, "processing_ms": processing_ms}
        published = self._store.publish(event, known, "REJECTED" if reason else "READY", fields)
        if not published:
            # A newer event was faster: what it replaced is ours to take away. Or another delivery of this very event
            # was: it has written the same keys, and they are its own now.
            winner = self._store.record(event.image_id)
            if winner and winner["sequencer"] != event.sequencer:
                self._store.delete_variants(event.image_id, event.revision)
            return Result(Outcome.SKIPPED)
        if known and known["revision"] != event.revision:
            self._store.delete_variants(event.image_id, known["revision"])
        outcome = Outcome.REJECTED if reason else Outcome.PROCESSED
        return Result(outcome, queue_ms, processing_ms, source.get("bytes", event.size or 0), bytes_out, reason)

    def _render(self, event: ObjectEvent, source: dict[str, Any]) -> tuple[Header, engine.Rendition]:
        """Reads, judges, decodes. Fills in what is known of the source as it comes to be known."""
        if event.size is not None:
            gate.judge_size(event.size, self._limits)
        found = self._store.source(event)
        gate.judge_size(found["ContentLength"], self._limits)
        data = found["Body"].read()
        source |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "content_type": found["ContentType"]}
        header = gate.inspect(data, self._limits)
        source["format"] = header.format
        return header, engine.render(data, header, self._recipe)

    def _removed(self, event: ObjectEvent, known: Record | None) -> Result:
        if event.of_one_version and known and known["source"].get("version_id") != event.version_id:
            return Result(Outcome.SKIPPED)
        if not self._store.bury(event, known):
            return Result(Outcome.SKIPPED)
        if known:
            self._store.delete_variants(event.image_id, known["revision"])
        return Result(Outcome.DELETED)


def _shape(header: Header, rendition: engine.Rendition) -> Record:
    return {
        "width": rendition.width,
        "height": rendition.height,
        "orientation": header.orientation,
        "colour_space": header.colour_space,
        "frames": header.frames,
    }
