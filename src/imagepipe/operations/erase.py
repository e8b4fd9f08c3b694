"""Erases images: every version of their objects, and the dead letters that name them.

A removal leaves old versions in S3 for as long as the buckets' rules say, so that it can be undone. Erasing begins with
the same removal, so that the processor writes it in order among everything else that happens to the image. Only once
the record says so do the versions go: whatever works on the image then can publish nothing more.

Each step may be repeated. A run that was stopped leaves a removed image with fewer versions; the same command goes on.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from image_processor.events import image_id
from imagepipe.errors import PipelineError
from imagepipe.operations import orphans, sweep
from imagepipe.operations.dead_letters import Drawer, Letter
from imagepipe.operations.resources import Resources
from imagepipe.operations.sweep import Version

#: Seconds for which the processor may take to write a removal.
PATIENCE = 180

#: Times that versions are looked for again, because work that ran at the removal may have written some since.
ROUNDS = 3


@dataclass(frozen=True)
class Subject:
    """An image to erase."""

    image_id: str
    key: str


@dataclass(frozen=True)
class Remains:
    """What S3 keeps of an image: versions and delete markers."""

    originals: tuple[Version, ...]
    variants: tuple[Version, ...]

    def __len__(self) -> int:
        return len(self.originals) + len(self.variants)


def subjects(resources: Resources, image_ids: Iterable[str], keys: Iterable[str]) -> list[Subject]:
    """Return the images to erase, each once.

    Raises:
        PipelineError: an id has no record, or the record of a removed image, which keeps no key.
    """
    wanted = list(image_ids)
    records = resources.records.get_many(wanted)
    chosen = {key: Subject(image_id(resources.upload_bucket, key), key) for key in keys}
    for one in wanted:
        if one not in records:
            raise PipelineError(
                f"no image has the id {one}: imagepipe list shows the ids; --key takes the name of a file"
            )
        if "key" not in records[one]["source"]:
            raise PipelineError(f"{one} was removed before, and its record keeps no key: name the file with --key")
        key = records[one]["source"]["key"]
        chosen[key] = Subject(one, key)
    return list(chosen.values())


def remains(resources: Resources, subject: Subject) -> Remains:
    """Return what S3 keeps of an image."""
    originals = _versions(resources, resources.upload_bucket, subject.key)
    variants = _versions(resources, resources.processed_bucket, f"{subject.image_id}/")
    return Remains(tuple(version for version in originals if version.key == subject.key), tuple(variants))


def erase(resources: Resources, subject: Subject, sleep: Callable[[float], None] = time.sleep) -> int:
    """Remove an image, then delete everything that S3 keeps of it; return the number of versions.

    Raises:
        PipelineError: the processor did not write the removal, S3 refused, or somebody keeps writing the object.
    """
    _remove(resources, subject, sleep)
    deleted = 0
    for _ in range(ROUNDS):
        left = remains(resources, subject)
        if not left:
            return deleted
        if any(version.latest and not version.marker for version in left.originals):
            raise PipelineError(
                f"{subject.key} was uploaded again meanwhile: run the same command again to erase it too"
            )
        # Markers go last: without its marker an older version would be the object again, and be processed.
        orphans.delete_versions(resources, resources.upload_bucket, (one for one in left.originals if not one.marker))
        orphans.delete_versions(resources, resources.upload_bucket, (one for one in left.originals if one.marker))
        orphans.delete_versions(resources, resources.processed_bucket, left.variants)
        deleted += len(left)
    if remains(resources, subject):
        raise PipelineError(f"something still writes {subject.image_id}: run the same command again in a few minutes")
    return deleted


def dead_letters(resources: Resources, subjects: Iterable[Subject], *, remove: bool) -> int:
    """Count the dead letters that are about these images only, and remove them from their queue if so wanted."""
    ids = {subject.image_id for subject in subjects}
    count = 0
    with Drawer(resources) as drawer:
        for letters in drawer:
            about = [letter for letter in letters if _is_about(letter, ids)]
            count += len(about)
            if remove and about:
                drawer.remove(about)
    return count


def _is_about(letter: Letter, ids: set[str]) -> bool:
    return bool(letter.image_ids) and ids.issuperset(letter.image_ids)


def _remove(resources: Resources, subject: Subject, sleep: Callable[[float], None]) -> None:
    """Remove the object as everybody does, and wait until its record says so."""
    if not _is_removed(resources, subject) or resources.object(subject.key):
        resources.s3.delete_object(Bucket=resources.upload_bucket, Key=subject.key)
    for _ in range(PATIENCE):
        if _is_removed(resources, subject):
            return
        sleep(1)
    raise PipelineError(
        f"the processor has not written the removal of {subject.key} within {PATIENCE} s, so nothing is erased yet: "
        f"{resources.command('failures')} shows why; then run the same command again"
    )


def _is_removed(resources: Resources, subject: Subject) -> bool:
    record = resources.records.get(subject.image_id)
    return record is None or record["status"] == "DELETED"


def _versions(resources: Resources, bucket: str, prefix: str) -> list[Version]:
    pages = resources.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return [version for page in pages for version in sweep.versions(page)]
