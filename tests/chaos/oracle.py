"""What must hold when all is quiet, judged from the cloud's contents alone: no code of the pipeline is used here."""

import hashlib
import io
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from boto3.dynamodb.types import TypeDeserializer
from PIL import Image

from chaos.cloud import RELEASES, Deployment, Release
from chaos.traffic import Traffic

OUTCOMES = {"READY": "image.ready", "REJECTED": "image.rejected", "FAILED": "image.failed", "DELETED": "image.deleted"}

_deserialise = TypeDeserializer().deserialize


def plain(item: dict[str, Any]) -> dict[str, Any]:
    return {name: _deserialise(value) for name, value in item.items()}


@dataclass(frozen=True)
class Violation:
    kind: str
    key: str
    what: str


@dataclass
class Verdict:
    violations: list[Violation] = field(default_factory=list)

    def say(self, kind: str, key: str, what: str) -> None:
        self.violations.append(Violation(kind, key, what))


class Oracle:
    def __init__(self, deployment: Deployment, traffic: Traffic) -> None:
        self._contents, self._prefix = traffic.contents, traffic.prefix
        self._since = deployment.judged
        self._s3, self._dynamodb = deployment.cloud.client("s3"), deployment.cloud.client("dynamodb")
        self._streams = deployment.cloud.client("dynamodbstreams")
        self._deployment = deployment
        self.verdict = Verdict()

    # --- state --------------------------------------------------------------------------------------------------------

    def judge_states(self, keys: list[str]) -> None:
        """Every key's record is what the object under it asks for, and everything that it shows is there."""
        current = self._current()
        stored = self._stored()
        for key in keys:
            record = self.record(image_id(self._deployment.uploads, key))
            if key not in current:
                if record and record["status"] != "DELETED":
                    self.verdict.say("state", key, f"the object is gone, its record says {record['status']}")
                continue
            version, digest = current[key]
            content, release = self._contents[digest], _judge(record)
            reason = content.refused_by(release)
            expected = "REJECTED" if reason else "READY"
            if record is None or record["status"] != expected:
                self.verdict.say("state", key, f"expected {expected} {reason or ''}, the record is {_short(record)}")
            elif record["source"]["version_id"] != version:
                self.verdict.say(
                    "state", key, f"the record is of version {record['source']['version_id']}, not {version}"
                )
            elif reason and record["reason"]["code"] != reason:
                self.verdict.say("state", key, f"rejected for {record['reason']}, not for {reason}")
            elif content.colour and not reason:
                if record["source"].get("sha256") != digest:
                    self.verdict.say("state", key, "sha256 of the source is another")
                self._judge_variants(key, record, release, content.colour, stored)

    def _judge_variants(
        self, key: str, record: dict[str, Any], release: Release, colour: tuple[int, ...], stored: dict[str, int]
    ) -> None:
        if {variant["width"] for variant in record["variants"].values()} != set(release.widths):
            self.verdict.say("variants", key, f"{sorted(record['variants'])} are not of {release.image}")
        for name, variant in record["variants"].items():
            if variant["key"] not in stored:
                self.verdict.say("variants", key, f"{name} is not there: {variant['key']}")
                continue
            if not variant["key"].startswith(f"{record['image_id']}/{record['revision']}/"):
                self.verdict.say("variants", key, f"{name} is of another revision: {variant['key']}")
            data = self._s3.get_object(Bucket=self._deployment.processed, Key=variant["key"])["Body"].read()
            if len(data) != variant["bytes"] or hashlib.sha256(data).hexdigest() != variant["sha256"]:
                self.verdict.say("variants", key, f"{name} has another size or hash than recorded")
            with Image.open(io.BytesIO(data)) as image:
                size, pixel = image.size, image.convert("RGB").getpixel((1, 1))
            if size != (variant["width"], variant["height"]):
                self.verdict.say("variants", key, f"{name} is {size}")
            if max(abs(a - b) for a, b in zip(pixel, colour, strict=True)) > 12:  # type: ignore[arg-type]
                self.verdict.say("variants", key, f"{name} shows another image: {pixel}, not {colour}")

    def judge_shown(self, image: str, key: str) -> None:
        """At any moment: what a record shows is there. If not, it must show something else by now."""
        record = self.record(image)
        if not record or record["status"] != "READY":
            return
        for variant in record["variants"].values():
            try:
                self._s3.head_object(Bucket=self._deployment.processed, Key=variant["key"])
            except self._s3.exceptions.ClientError:
                again = self.record(image)
                if again and again.get("variants") == record["variants"]:
                    self.verdict.say("incomplete", key, f"{variant['key']} is shown and not there")

    # --- what is left over --------------------------------------------------------------------------------------------

    def left_over(self, images: set[str]) -> set[str]:
        """Objects of these images that no record shows."""
        shown: set[str] = set()
        for image in images:
            record = self.record(image)
            shown |= {variant["key"] for variant in ((record or {}).get("variants") or {}).values()}
        return {key for key in self._stored() if key.partition("/")[0] in images} - shown

    # --- events -------------------------------------------------------------------------------------------------------

    def judge_events(self, images: dict[str, str], announced: list[str]) -> None:
        """One event per outcome that the table had, in its stream, and none else; ordered writes; the last one told."""
        outcomes: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
        for before, after in self._writes(images):
            image = after["image_id"]
            if before and before["sequencer"] > after["sequencer"]:
                self.verdict.say("order", images[image], f"{_short(after)} was written over {_short(before)}")
            elif before and _is_settled(before) and _is_undone(before, after):
                self.verdict.say("order", images[image], f"{_short(after)} was written over settled {_short(before)}")
            if after["status"] in OUTCOMES and _outcome(before) != _outcome(after):
                outcomes[image].append((after["status"], after["revision"], after["sequencer"]))
        ids_of: dict[str, dict[tuple[str, str, str], set[str]]] = defaultdict(lambda: defaultdict(set))
        bodies: dict[str, str] = {}
        for body in announced:
            event = json.loads(body)
            detail = event["detail"]
            image = detail["image_id"]
            if image not in images:
                continue
            ids_of[image][detail["status"], detail["revision"], detail["sequencer"]].add(detail["id"])
            if event["detail-type"] != OUTCOMES[detail["status"]]:
                self.verdict.say("events", images[image], f"{event['detail-type']} of {detail['status']}")
            text = json.dumps(detail, sort_keys=True)
            if bodies.setdefault(detail["id"], text) != text:
                self.verdict.say("events", images[image], f"two contents under one id, {detail['id']}")
        for image, key in images.items():
            had, output = outcomes[image], ids_of[image]
            if len(set(had)) != len(had):
                self.verdict.say("events", key, f"an outcome was reached twice: {had}")
            for outcome in set(had) - set(output):
                self.verdict.say("events", key, f"{outcome} was not told")
            for outcome in set(output) - set(had):
                self.verdict.say("events", key, f"{outcome} was told and never was")
            for outcome, ids in output.items():
                if len(ids) > 1:
                    self.verdict.say("events", key, f"{outcome} was told under several ids")

    def _writes(self, images: dict[str, str]) -> list[tuple[dict[str, Any] | None, dict[str, Any]]]:
        """Writes of these images' records, before and after, in their order."""
        stream = self._deployment.stream
        shard = self._streams.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"][0]["ShardId"]
        start = (
            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._since}
            if self._since
            else {"ShardIteratorType": "TRIM_HORIZON"}
        )
        iterator = self._streams.get_shard_iterator(StreamArn=stream, ShardId=shard, **start)["ShardIterator"]
        answer = []
        while iterator:
            page = self._streams.get_records(ShardIterator=iterator, Limit=1000)
            for record in page["Records"]:
                change = record["dynamodb"]
                self._deployment.judged = change["SequenceNumber"]
                if "NewImage" in change and change["Keys"]["image_id"]["S"] in images:
                    before = plain(change["OldImage"]) if change.get("OldImage") else None
                    answer.append((before, plain(change["NewImage"])))
            if not page["Records"]:
                break
            iterator = page.get("NextShardIterator")
        return answer

    # --- reading ------------------------------------------------------------------------------------------------------

    def record(self, image: str) -> dict[str, Any] | None:
        answer = self._dynamodb.get_item(
            TableName=self._deployment.table, Key={"image_id": {"S": image}}, ConsistentRead=True
        )
        return plain(answer["Item"]) if "Item" in answer else None

    def _current(self) -> dict[str, tuple[str, str]]:
        """Version id and sha256 of what lies under each key of the upload bucket."""
        outcome = {}
        for page in self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._deployment.uploads, Prefix=self._prefix
        ):
            for entry in page.get("Contents", []):
                answer = self._s3.get_object(Bucket=self._deployment.uploads, Key=entry["Key"])
                outcome[entry["Key"]] = (answer["VersionId"], hashlib.sha256(answer["Body"].read()).hexdigest())
        return outcome

    def _stored(self) -> dict[str, int]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._deployment.processed)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}


def image_id(bucket: str, key: str) -> str:
    return hashlib.sha256(f"{bucket}/{key}".encode()).hexdigest()[:32]


def _judge(record: dict[str, Any] | None) -> Release:
    """The release that a record names as its judge."""
    image = ((record or {}).get("pipeline") or {}).get("image")
    return next((release for release in RELEASES if release.image == image), RELEASES[0])


def _outcome(record: dict[str, Any] | None) -> Any:
    if record is None:
        return None
    return "DELETED" if record["status"] == "DELETED" else (record["status"], record["revision"])


def _is_settled(record: dict[str, Any]) -> bool:
    return record["status"] in {"READY", "REJECTED", "DELETED"}


def _is_undone(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether one event had two outcomes. On order, an image may be made again: under a name with the recipe in it."""
    again = "-" in after["revision"]
    return before["sequencer"] == after["sequencer"] and not again and _outcome(before) != _outcome(after)


def _short(record: dict[str, Any] | None) -> str:
    return f"{record['status']} {record['revision']}" if record else "missing"
