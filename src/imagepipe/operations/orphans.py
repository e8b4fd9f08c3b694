"""Variants that no record shows; see image_processor.sweep for why taking them is safe against running work."""

from datetime import datetime, timedelta
from functools import cache

from imagepipe.errors import PipelineError
from imagepipe.operations import sweep
from imagepipe.operations.deployment import Deployment
from imagepipe.operations.inventory import shown_keys
from imagepipe.operations.records import batches
from imagepipe.operations.sweep import Orphan

#: Most versions that one DeleteObjects takes.
DELETED_AT_A_TIME = 1000


def find(deployment: Deployment, folder: str, settled: datetime) -> list[Orphan]:
    """Orphans in a folder, as of now; none of them was written after `settled`."""
    pages = deployment.s3.get_paginator("list_object_versions").paginate(
        Bucket=deployment.processed_bucket, Prefix=folder
    )
    versions = [version for page in pages for version in sweep.versions(page)]

    @cache  # of this folder, read after it was listed
    def shown(image_id: str) -> set[str]:
        return shown_keys(deployment.records.get(image_id))

    return list(sweep.orphans(versions, shown, settled, timedelta(0)))


def take_away(deployment: Deployment, folder: str, settled: datetime) -> int:
    """Deletes the orphans in a folder for good, and returns how many they were.

    Raises:
        PipelineError: S3 would not delete some.
    """
    found = find(deployment, folder, settled)
    for batch in batches((version for orphan in found for version in orphan.versions), DELETED_AT_A_TIME):
        answer = deployment.s3.delete_objects(
            Bucket=deployment.processed_bucket,
            Delete={"Objects": [{"Key": each.key, "VersionId": each.id} for each in batch], "Quiet": True},
        )
        if errors := answer.get("Errors"):
            raise PipelineError(f"{errors[0]['Key']} could not be deleted: {errors[0].get('Message')}")
    return len(found)
