"""What people do with images: upload, wait for the processor, look, download, clean up."""

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
from imagepipe.terragrunt import units as terragrunt
from imagepipe.terragrunt.target import Target

#: Objects with this tag are removed by the bucket's lifecycle rule and by `clean`; nothing else ever is.
TEST_DATA_TAG = "purpose=test-data"

#: Name of the object metadata that holds the file's sha256, by which a second upload knows what is there already.
SHA256_METADATA = "sha256"

for kind, suffix in (("image/avif", ".avif"), ("image/heic", ".heic"), ("image/webp", ".webp")):
    mimetypes.add_type(kind, suffix)


@dataclass(frozen=True)
class Upload:
    """One file and the object it became."""

    file: Path
    key: str
    image_id: str
    version_id: str | None
    size: int  # bytes
    skipped: bool  # the object was there already, with the same content


#: Bytes that S3 lets a key have.
LONGEST_KEY = 1024


def collect(paths: Iterable[Path]) -> dict[str, Path]:
    """Object keys by file: a folder's files keep their path below it, hidden files are left out.

    Raises:
        PipelineError: a path that does not exist, a file whose name cannot be a key, two files of one key, or nothing
            to upload at all.
    """
    found: dict[str, Path] = {}
    looked_at = []
    for path in paths:
        looked_at.append(str(path))
        if not (path.is_file() or path.is_dir()):
            raise PipelineError(f"there is no file or folder {path}")
        for key, file in _keys(path):
            _check(key, file)
            if not file.samefile(found.setdefault(key, file)):
                raise PipelineError(f"{found[key]} and {file} would both become {key}: upload the folder of both")
    if not found:
        raise PipelineError(f"there are no files in {', '.join(looked_at)}")
    return found


def _keys(path: Path) -> Iterator[tuple[str, Path]]:
    if not path.is_dir():
        yield path.name, path
        return
    for file in sorted(path.rglob("*")):
        below = file.relative_to(path)
        if file.is_file() and not any(part.startswith(".") for part in below.parts):
            yield below.as_posix(), file


def _check(key: str, file: Path) -> None:
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise PipelineError(f"{str(file)!r}: its name is not UTF-8, and keys of S3 are: rename it") from None
    if length > LONGEST_KEY:
        raise PipelineError(f"{file}: its key would have {length} bytes, and S3 takes {LONGEST_KEY}: shorten its path")


class Uploader:
    """Puts files into an upload bucket: several at a time, in parts when large, and only what is not there already."""

    def __init__(self, s3: Any, bucket: str, *, test_data: bool = False, concurrency: int = 8) -> None:
        self._s3, self._bucket, self._test_data, self._concurrency = s3, bucket, test_data, concurrency

    def upload(self, files: dict[str, Path], done: Callable[[Upload], None]) -> list[Upload]:
        """Uploads every file under its key and calls `done` after each. An interrupted run is taken up by the next."""
        with ThreadPoolExecutor(self._concurrency) as pool:
            uploads = []
            for result in pool.map(lambda item: self._one(*item), files.items()):
                done(result)
                uploads.append(result)
            return uploads

    def find(self, files: dict[str, Path]) -> list[Upload]:
        """What became of files uploaded earlier.

        Raises:
            PipelineError: a file that is not in the bucket.
        """
        found = []
        for key, file in files.items():
            head = self._head(key)
            if not head:
                raise PipelineError(f"{key} is not in {self._bucket}: upload it first")
            found.append(self._uploaded(key, file, head, skipped=True))
        return found

    def _one(self, key: str, file: Path) -> Upload:
        try:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            head = self._head(key)
            if head.get("Metadata", {}).get(SHA256_METADATA) == digest:
                return self._uploaded(key, file, head, skipped=True)
            arguments = {"ContentType": content_type(file), "Metadata": {SHA256_METADATA: digest}}
            if self._test_data:
                arguments["Tagging"] = TEST_DATA_TAG
            self._s3.upload_file(
                str(file), self._bucket, key, ExtraArgs=arguments, Config=TransferConfig(use_threads=False)
            )
            return self._uploaded(key, file, self._head(key), skipped=False)
        except (BotoCoreError, ClientError, boto3.exceptions.Boto3Error, OSError) as error:
            raise PipelineError(f"{file} could not be uploaded to {self._bucket}: {error}") from None

    def _uploaded(self, key: str, file: Path, head: dict[str, Any], *, skipped: bool) -> Upload:
        return Upload(file, key, image_id(self._bucket, key), head.get("VersionId"), file.stat().st_size, skipped)

    def _head(self, key: str) -> dict[str, Any]:
        """The object's head, or nothing where there is no such object."""
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
    """By the file's name; the processor goes by the bytes in any case."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


class Pipeline:
    """A deployed environment as a person sees it."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @cached_property
    def _units(self) -> dict[str, dict[str, Any]]:
        return terragrunt.outputs(self.target)

    @property
    def dashboard_name(self) -> str:
        return str(self._units["monitoring"]["dashboard_name"])

    @cached_property
    def outputs(self) -> dict[str, Any]:
        """The environment's three outputs.

        Raises:
            PipelineError: the environment is not (wholly) deployed.
        """
        units = self._units
        wanted = {"upload_bucket_name": "storage", "api_url": "api", "dashboard_url": "monitoring"}
        for name, unit in wanted.items():
            if name not in units.get(unit, {}):
                environment = self.target.environment.name
                raise PipelineError(
                    f"{environment} is only partly deployed, {unit} is missing: make apply ENV={environment}"
                )
        return {name: units[unit][name] for name, unit in wanted.items()}

    @cached_property
    def s3(self) -> Any:
        return self.target.client("s3")

    @cached_property
    def api(self) -> ApiClient:
        return ApiClient(
            self.outputs["api_url"], self.target.environment.region, self.target.credentials, self.target.ca_bundle
        )

    def uploader(self, *, test_data: bool, concurrency: int = 8) -> Uploader:
        return Uploader(self.s3, self.outputs["upload_bucket_name"], test_data=test_data, concurrency=concurrency)

    def wait(self, uploads: list[Upload], timeout: float, done: Callable[[Upload, Record], None]) -> dict[str, Record]:
        """Records by key, once each upload's own object version is READY, REJECTED or FAILED.

        Args:
            timeout: seconds without any image becoming final, after which the rest is given up and left out.
        """
        finished: dict[str, Record] = {}
        pending = list(uploads)
        last_progress, pause = time.monotonic(), 0.2
        while pending:
            # A few at a time, oldest first: asking for all at once would run into the API's throttle.
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
        """Writes every variant of a READY image to <directory>/<key>/<variant>.<ext>; what is there already stays."""
        if not record.get("variants"):
            raise PipelineError(f"image {record['image_id']} is {record['status']}: there is nothing to download")
        folder = directory / folder_of(record["source"]["key"], record["image_id"])
        for name, variant in record["variants"].items():
            file = folder / PurePosixPath(variant["key"]).name
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != variant["sha256"]:
                    write_atomically(file, self.api.variant(record["image_id"], name))
            except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
                raise PipelineError(f"{file}: {error.strerror}: download it to another folder (--to)") from None
            yield file

    def test_data(self) -> Iterator[str]:
        """Keys of the upload bucket's objects that carry the test-data tag."""
        bucket = self.outputs["upload_bucket_name"]
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for entry in page.get("Contents", []):
                tags = self.s3.get_object_tagging(Bucket=bucket, Key=entry["Key"])["TagSet"]
                if any(f"{tag['Key']}={tag['Value']}" == TEST_DATA_TAG for tag in tags):
                    yield entry["Key"]

    def remove_objects(self, keys: Iterable[str]) -> Iterator[str]:
        """Removes objects as their owner would: the pipeline then removes what it made of them.

        One by one: a request for many is XML, and that has no word for a control character.
        """

        def remove(key: str) -> str:
            self.s3.delete_object(Bucket=self.outputs["upload_bucket_name"], Key=key)
            return key

        with ThreadPoolExecutor(8) as pool:
            yield from pool.map(remove, keys)


def folder_of(key: str, image_id: str) -> Path:
    """A relative path for an image: its key, or what a file system takes of it with the image's id, so that it is
    no other's and leads nowhere else.
    """
    path = Path(*map(_file_name, key.split("/")))
    return path if str(path) == key else path.with_name(f"{path.name}.{image_id}")


#: Bytes of a file's name that leave room for an id. File systems take 255.
_LONGEST_NAME = 200


def _file_name(part: str) -> str:
    """Composed, as some file systems hold both forms of a letter for one."""
    name = "".join(sign if sign.isprintable() else "_" for sign in unicodedata.normalize("NFC", part))
    return "_" if name in {"", ".", ".."} else name.encode()[:_LONGEST_NAME].decode(errors="ignore")
