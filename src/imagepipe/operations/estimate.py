"""Estimates time and costs of a backfill, from what the same images took the last time."""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from imagepipe.operations.records import Record
from imagepipe.operations.resources import Workers

#: US dollars. docs/costs.md is made from the same file.
PRICES: dict[str, Any] = json.loads(Path(__file__).with_name("prices.json").read_text())

#: Requests to SQS per image: send, receive, delete.
SQS_REQUESTS = 3

#: Write units per image: four for the publishing write of 4 KB, times table and two indexes.
WRITE_UNITS = 12

#: Milliseconds per image if no record says how long it took: a 12-megapixel photograph on one vCPU.
USUAL_MS = 1000


@dataclass
class Sums:
    """Sums of the time and storage that images took when they were made."""

    count: int = 0
    done: int = 0  # made by the deployed processor already; not in any of the other sums
    timed: int = 0
    milliseconds: int = 0
    variants: int = 0
    variant_bytes: int = 0

    def add(self, record: Record) -> None:
        """Add one image."""
        variants = (record.get("variants") or {}).values()
        timings = record.get("timings") or {}
        self.count += 1
        self.timed += "processing_ms" in timings
        self.milliseconds += timings.get("processing_ms", 0)
        self.variants += len(variants)
        self.variant_bytes += sum(variant["bytes"] for variant in variants)


@dataclass(frozen=True)
class Estimate:
    """Time and costs of a backfill."""

    count: int  # images
    seconds: float  # until the last image is made
    dollars: float

    def __str__(self) -> str:
        if not self.count:
            return "no image is left to reprocess"
        time = timedelta(seconds=max(1, round(self.seconds)))
        dollars = f"{self.dollars:,.2f} US dollars" if self.dollars >= 0.01 else "less than a cent"
        return f"{self.count} images to reprocess: about {time} (h:mm:ss) and {dollars}"


def estimate(sums: Sums, workers: Workers, rate: float, kept_days: int) -> Estimate:
    """Estimate a backfill.

    The time is that of the functions or of the sending, whichever is longer. The costs are requests, computing, and
    the replaced variants, which S3 keeps as old versions.

    Args:
        rate: messages a second.
        kept_days: days for which S3 keeps old versions.
    """
    busy_seconds = sums.count * (sums.milliseconds / sums.timed if sums.timed else USUAL_MS) / 1000
    per_image = (
        PRICES["lambda_request"]
        + PRICES["s3_get"]
        + SQS_REQUESTS * PRICES["sqs_request"]
        + WRITE_UNITS * PRICES["dynamodb_write_unit"]
    )
    dollars = (
        busy_seconds * workers.memory_mb / 1024 * PRICES["lambda_gb_second"][workers.architecture]
        + sums.count * per_image
        + sums.variants * PRICES["s3_put"]
        + sums.variant_bytes / 1e9 * PRICES["s3_gb_month"] * kept_days / 30
    )
    return Estimate(sums.count, max(busy_seconds / workers.concurrency, sums.count / rate), dollars)
