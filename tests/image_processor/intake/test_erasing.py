"""The processor's part in `imagepipe remove --erase`: it writes the removal, and hears of every version that goes."""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import pytest

from image_processor import aws
from image_processor.intake.processor import Processor
from imagepipe.operations.erase import Subject, erase, remains
from imagepipe.operations.records import Records

from ..conftest import PROCESSED, TABLE, UPLOADS, Environment


@dataclass
class Kept:
    """The parts of an environment's resources that an erasure touches."""

    s3: Any
    records: Records
    upload_bucket: str = UPLOADS
    processed_bucket: str = PROCESSED

    def object(self, key: str) -> bool:
        entries = self.s3.list_objects_v2(Bucket=UPLOADS, Prefix=key).get("Contents", [])
        return any(entry["Key"] == key for entry in entries)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_removal_stays_whatever_the_order_of_the_events_of_its_versions(
    processor: Processor, environment: Environment, photo: bytes, other_photo: bytes, order: tuple[int, ...]
) -> None:
    """S3 sends one event for each version that goes, in any order; none may bring the image or its key back."""
    environment.s3.put_bucket_versioning(Bucket=PROCESSED, VersioningConfiguration={"Status": "Enabled"})
    for content in (photo, other_photo):
        processor.handle(environment.event(environment.put("anna.jpg", content)))
    image = environment.record("anna.jpg")["image_id"]
    resources: Any = Kept(environment.s3, Records(aws.dynamodb(), TABLE))
    subject = Subject(image, "anna.jpg")
    before = [version.id for version in remains(resources, subject).originals]
    removal: list[dict[str, Any]] = []

    def wait(_: float) -> None:
        if not removal:
            marker = environment.s3.list_object_versions(Bucket=UPLOADS)["DeleteMarkers"][0]["VersionId"]
            removal.append(environment._event("ObjectRemoved:DeleteMarkerCreated", "anna.jpg", {"versionId": marker}))
            processor.handle(environment.event(removal[0]))

    assert erase(resources, subject, wait) > 3
    versions = [*before, removal[0]["s3"]["object"]["versionId"]]
    assert len(versions) == 3
    late = [environment._event("ObjectRemoved:Delete", "anna.jpg", {"versionId": version}) for version in versions]
    for place in order:
        processor.handle(environment.event(late[place]))
    assert environment.record("anna.jpg")["status"] == "DELETED"
    assert "anna" not in str(environment.record("anna.jpg"))
    assert len(remains(resources, subject)) == 0
