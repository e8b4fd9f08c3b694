"""Uploads images, waits for the processor, downloads variants and removes test data."""

import hashlib
import mimetypes
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import BotoCoreError, ClientError

from image_processor.events import image_id
from imagepipe.errors import PipelineError
from imagepipe.files import write_atomically
from imagepipe.images.api_client import FINAL, ApiClient, Record
from imagepipe.terragrunt import state
from imagepipe.terragrunt.target import Target

#: Tag of objects that the bucket's lifecycle rule and `clean` remove. They remove no others.
TEST_DATA_TAG = "purpose=test-data"

#: Object metadata with the sha256 of the file. By it, a second upload skips unchanged files.
SHA256_METADATA = "sha256"

for kind, suffix in (("image/avif", ".avif"), ("image/heic", ".heic"), ("image/webp", ".webp")):
    mimetypes.add_type(kind, suffix)


@dataclass(frozen=True)
class Upload:
    """One file and its object in the upload bucket."""

    file: Path
    key: str
    image_id: str
    version_id: str | None
    size: int  # bytes
    skipped: bool  # the bucket held an object with the same content already


#: Most bytes of a key in S3.
LONGEST_KEY = 1024


def collect(paths: Iterable[Path]) -> dict[str, Path]:
    """Return files by object key. A folder's files keep their path below it; hidden files are left out.

    Raises:
        PipelineError: a path does not exist, a folder holds a symbolic link, a file's name cannot be a key, two files
            have the same key, or the paths hold no files.
    """
    paths = list(paths)
    files: dict[str, Path] = {}
    for path in paths:
        if not (path.is_file() or path.is_dir()):
            raise PipelineError(f"{path} is no file or folder: check the path")
        for key, file in _keys(path):
            _check(key, file)
            if not file.samefile(files.setdefault(key, file)):
                raise PipelineError(
                    f"{files[key]} and {file} would both become {key}: upload a folder that contains both"
                )
    if not files:
        raise PipelineError(f"no files in {', '.join(map(str, paths))}: name files, or folders that hold some")
    return files


def _keys(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.is_dir():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        below = file.relative_to(path)
        if any(part.startswith(".") for part in below.parts):
            continue
        if file.is_symlink():  # it may point anywhere: to a private key, or to a folder that holds this one
            raise PipelineError(
                f"{file} is a symbolic link, and folders are uploaded without following any: "
                "replace it by a copy, or name what it points to"
            )
        if file.is_file():
            yield below.as_posix(), file


def _check(key: str, file: Path) -> None:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise PipelineError(f"{str(file)!r}: its name is not UTF-8, as keys of S3 must be: rename it") from None
    if length > LONGEST_KEY:
        raise PipelineError(f"{file}: its key would have {length} bytes, and S3 allows {LONGEST_KEY}: shorten its path")


class Uploader:
    """Uploads files to a bucket: several at a time, large ones in parts, and unchanged ones not at all.

    Args:
        test_data: tag the objects as test data.
        concurrency: files at a time.
    """

    def __init__(self, s3: Any, bucket: str, *, test_data: bool = False, concurrency: int = 8) -> None:
        self._s3, self._bucket, self._test_data, self._concurrency = s3, bucket, test_data, concurrency

    def upload(self, files: dict[str, Path], done: Callable[[Upload], None]) -> list[Upload]:
        """Upload every file under its key. After an interruption the next run continues.

        Args:
            done: called after every file.
        """
        with ThreadPoolExecutor(self._concurrency) as pool:
            uploads = []
            for result in pool.map(lambda item: self._one(*item), files.items()):
                done(result)
                uploads.append(result)
            return uploads

    def find(self, files: dict[str, Path]) -> list[Upload]:
        """Return the uploads of files that were uploaded earlier.

        Raises:
            PipelineError: a file is not in the bucket.
        """
        uploads = []
        for key, file in files.items():
            head = self._head(key)
            if not head:
                raise PipelineError(f"{key} is not in {self._bucket}: upload it first")
            uploads.append(self._make_upload(key, file, head, skipped=True))
        return uploads

    def _one(self, key: str, file: Path) -> Upload:
        try:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            head = self._head(key)
            if head.get("Metadata", {}).get(SHA256_METADATA) == digest:
                return self._make_upload(key, file, head, skipped=True)
            arguments = {"ContentType": content_type(file), "Metadata": {SHA256_METADATA: digest}}
            if self._test_data:
                arguments["Tagging"] = TEST_DATA_TAG
            self._s3.upload_file(
                str(file), self._bucket, key, ExtraArgs=arguments, Config=TransferConfig(use_threads=False)
            )
            return self._make_upload(key, file, self._head(key), skipped=False)
        except (BotoCoreError, ClientError, boto3.exceptions.Boto3Error, OSError) as error:
            raise PipelineError(
                f"{file} could not be uploaded to {self._bucket} ({error}): remove the cause and run it again"
            ) from None

    def _make_upload(self, key: str, file: Path, head: dict[str, Any], *, skipped: bool) -> Upload:
        return Upload(file, key, image_id(self._bucket, key), head.get("VersionId"), file.stat().st_size, skipped)

    def _head(self, key: str) -> dict[str, Any]:
        """Read the headers of an object; without such an object they are empty."""
        try:
            return dict(self._s3.head_object(Bucket=self._bucket, Key=key))
        except ClientError as error:
            if (
                error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
                and error.response["Error"]["Code"] != "NoSuchBucket"
            ):
                return {}
            raise


def content_type(file: Path) -> str:
    """Return the media type by the file's name. The processor does not trust it: it looks at the bytes."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


class Pipeline:
    """A deployed environment as its users see it."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def _units(self) -> dict[str, dict[str, Any]]:
        return state.outputs(self.target)

    @property
    def dashboard_name(self) -> str:
        """Return the name of the dashboard in CloudWatch."""
        return str(self._units["monitoring"]["dashboard_name"])

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """Return upload bucket, address of the API and address of the dashboard.

        Raises:
            PipelineError: the environment is not completely deployed.
        """
        units = self._units
        wanted = {"upload_bucket_name": "storage", "api_url": "api", "dashboard_url": "monitoring"}
        for name, unit in wanted.items():
            if name not in units.get(unit, {}):
                environment = self.target.environment.name
                raise PipelineError(
                    f"{environment} is not completely deployed, {unit} is missing: run make apply ENV={environment}"
                )
        return {name: units[unit][name] for name, unit in wanted.items()}

    @cached_property
    def s3(self) -> Any:
        """Return a client of S3."""
        return self.target.client("s3")

    @cached_property
    def api(self) -> ApiClient:
        """Return a client of the environment's API."""
        return ApiClient(
            self.outputs["api_url"], self.target.environment.region, self.target.credentials, self.target.ca_bundle
        )

    def uploader(self, *, test_data: bool, concurrency: int = 8) -> Uploader:
        """Return an uploader to the environment's upload bucket."""
        return Uploader(self.s3, self.outputs["upload_bucket_name"], test_data=test_data, concurrency=concurrency)

    def wait(self, uploads: list[Upload], timeout: float, done: Callable[[Upload, Record], None]) -> dict[str, Record]:
        """Wait until the object version of every upload has a final status, and return the records by key.

        Args:
            timeout: seconds without progress after which waiting ends; the remaining uploads are left out.
            done: called after every image.
        """
        finished: dict[str, Record] = {}
        pending = list(uploads)
        last_progress, pause = time.monotonic(), 0.2
        while pending:
            # A few at a time, oldest first: requests for all at once would be throttled by the API.
            batch, pending = pending[:10], pending[10:]
            for upload in batch:
                record = self.api.image(upload.image_id)
                if record and record["status"] in FINAL and record["source"].get("version_id") == upload.version_id:
                    finished[upload.key] = record
                    done(upload, record)
                    last_progress, pause = time.monotonic(), 0.2
                else:
                    pending.append(upload)  # at the back, so that one stuck image hides no other
            if pending and time.monotonic() - last_progress > timeout:
                break
            if all(upload.key not in finished for upload in batch):
                time.sleep(pause)
                pause = min(pause * 1.5, 2)
        return finished

    def download(self, record: Record, directory: Path) -> Iterator[Path]:
        """Write every variant of a READY image to <directory>/<key>/<variant>.<ext>, except unchanged files.

        Raises:
            PipelineError: the image has no variants, or a file is in the way.
        """
        if not record.get("variants"):
            raise PipelineError(
                f"image {record['image_id']} is {record['status']} and has no variants: download READY images"
            )
        folder = directory / folder_of(record["source"]["key"], record["image_id"])
        for name, variant in record["variants"].items():
            file = folder / PurePosixPath(variant["key"]).name
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != variant["sha256"]:
                    write_atomically(file, self.api.variant(record["image_id"], name))
            except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
                raise PipelineError(f"{file}: {error.strerror}: download to another folder (--to)") from None
            yield file

    def test_data(self) -> Iterator[str]:
        """List the keys of objects in the upload bucket that carry the test-data tag."""
        bucket = self.outputs["upload_bucket_name"]
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                tags = self.s3.get_object_tagging(Bucket=bucket, Key=entry["Key"])["TagSet"]
                if any(f"{tag['Key']}={tag['Value']}" == TEST_DATA_TAG for tag in tags):
                    yield entry["Key"]

    def remove_objects(self, keys: Iterable[str]) -> Iterator[str]:
        """Remove objects as their owner would. The pipeline then removes their variants.

        Each object is one request: a request for many is XML, which cannot express keys with control characters.
        """

        def remove(key: str) -> str:
            self.s3.delete_object(Bucket=self.outputs["upload_bucket_name"], Key=key)
            return key

        with ThreadPoolExecutor(8) as pool:
            yield from pool.map(remove, keys)


def folder_of(key: str, image_id: str) -> Path:
    """Return a relative path for an image that stays below its folder and belongs to no other image.

    That is the key or, if a file system cannot hold it as it is, a changed key with the image's id.
    """
    path = Path(*map(_file_name, key.split("/")))
    return path if str(path) == key else path.with_name(f"{path.name}.{image_id}")


#: Bytes of a file's name that leave room for an id. File systems allow 255.
_LONGEST_NAME = 200


def _file_name(part: str) -> str:
    """Change a part of a key to a file name. Accents are composed: some file systems treat both forms as one."""
    name = "".join(sign if sign.isprintable() else "_" for sign in unicodedata.normalize("NFC", part))
    return "_" if name in {"", ".", ".."} else name.encode()[:_LONGEST_NAME].decode(errors="ignore")
