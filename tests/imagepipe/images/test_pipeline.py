"""Uploading and downloading, against a mocked S3."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from imagepipe.errors import PipelineError
from imagepipe.images.pipeline import Upload, Uploader, collect, content_type, folder_of

BUCKET = "uploads"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a photo.jpg", "été/1+1.png", 'quote"s.webp'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / ".hidden").write_text("x")
    return tmp_path


def upload(s3: Any, files: dict[str, Path], **options: bool) -> list[Upload]:
    return Uploader(s3, BUCKET, **options).upload(files, lambda _: None)  # type: ignore[arg-type]


def test_keys_are_the_paths_below_the_folder(folder: Path) -> None:
    assert set(collect([folder])) == {"a photo.jpg", "été/1+1.png", 'quote"s.webp'}


def test_nothing_to_upload_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=f"no files in {tmp_path}"):
        collect([tmp_path])


def test_missing_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="is no file or folder"):
        collect([tmp_path / "nowhere"])


@pytest.mark.parametrize("target", ["private.key", "elsewhere", "nowhere"])
def test_link_in_a_folder_is_an_error_before_anything_is_uploaded(folder: Path, target: str) -> None:
    """Uploading a folder never sends a file of another place."""
    holiday = folder / "holiday"
    (holiday / "elsewhere").mkdir(parents=True)
    (folder / "private.key").write_text("secret")
    (folder / "elsewhere").mkdir()
    (holiday / "x.jpg").symlink_to(folder / target)
    with pytest.raises(PipelineError, match=r"holiday/x.jpg is a symbolic link, .* replace it by a copy"):
        collect([holiday])


def test_link_that_is_named_is_followed_and_a_hidden_one_left_out(folder: Path) -> None:
    (folder / "photo").symlink_to(folder / "a photo.jpg")
    (folder / "linked folder").symlink_to(folder / "été")
    assert set(collect([folder / "photo", folder / "linked folder"])) == {"photo", "1+1.png"}
    (folder / "été/.thumbnails").symlink_to("/etc")
    assert set(collect([folder / "été"])) == {"1+1.png"}


@pytest.mark.parametrize(
    ("name", "message"),
    [("caf\udce9.jpg", r"caf\\udce9.jpg': its name is not UTF-8"), ("/".join(["d" * 200] * 6), "1205 bytes")],
)
def test_name_that_cannot_be_a_key_is_an_error_before_anything_is_uploaded(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(PipelineError, match=message):
        collect([tmp_path])


def test_two_files_of_one_key_are_an_error_and_one_named_twice_is_not(folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "same.jpg").write_bytes(name.encode())
    for paths in ([folder / "one", folder / "two"], [folder / "one/same.jpg", folder / "two/same.jpg"]):
        with pytest.raises(PipelineError, match=r"would both become same.jpg"):
            collect(paths)
    assert collect([folder / "one", folder / "one/same.jpg"]) == {"same.jpg": folder / "one/same.jpg"}


def test_objects_have_content_type_and_the_uploads_their_version(s3: Any, folder: Path) -> None:
    uploads = upload(s3, collect([folder]))
    for one in uploads:
        head = s3.head_object(Bucket=BUCKET, Key=one.key)
        assert head["ContentType"] == content_type(one.file)
        assert head["VersionId"] == one.version_id
        assert not one.skipped


def test_second_run_uploads_only_what_changed(s3: Any, folder: Path) -> None:
    upload(s3, collect([folder]))
    (folder / "a photo.jpg").write_bytes(b"another")
    again = {one.key: one.skipped for one in upload(s3, collect([folder]))}
    assert again == {"a photo.jpg": False, "été/1+1.png": True, 'quote"s.webp': True}


@pytest.mark.parametrize(("test_data", "tags"), [(True, [{"Key": "purpose", "Value": "test-data"}]), (False, [])])
def test_only_test_data_is_tagged_so(s3: Any, folder: Path, test_data: bool, tags: list[dict[str, str]]) -> None:
    upload(s3, collect([folder]), test_data=test_data)
    assert s3.get_object_tagging(Bucket=BUCKET, Key="a photo.jpg")["TagSet"] == tags


def test_missing_bucket_is_an_error_that_names_it(s3: Any, folder: Path) -> None:
    with pytest.raises(PipelineError, match="could not be uploaded to elsewhere"):
        Uploader(s3, "elsewhere").upload(collect([folder]), lambda _: None)


def test_waiting_for_what_was_never_uploaded_is_an_error(s3: Any, folder: Path) -> None:
    with pytest.raises(PipelineError, match="is not in uploads"):
        Uploader(s3, BUCKET).find(collect([folder]))


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        ("a photo.jpg", "a photo.jpg"),
        ("a/b.png", "a/b.png"),
        ("\u00e9.png", "\u00e9.png"),
        ("e\u0301.png", "\u00e9.png.id"),
        ("a//b.png", "a/_/b.png.id"),
        ("a/", "a/_.id"),
        ("/etc/passwd", "_/etc/passwd.id"),
        ("../../x", "_/_/x.id"),
        ("..", "_.id"),
        ("two\nlines\x1b.png", "two_lines_.png.id"),
        ("k" * 1024, "k" * 200 + ".id"),
        ("日" * 341, "日" * 66 + ".id"),
    ],
)
def test_download_folder_is_the_images_own_and_below_the_target(key: str, folder: str) -> None:
    assert str(folder_of(key, "id")) == folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.JPG", "image/jpeg"),
        ("a.avif", "image/avif"),
        ("a.heic", "image/heic"),
        ("a.webp", "image/webp"),
        ("a", "application/octet-stream"),
    ],
)
def test_content_type_goes_by_the_name(name: str, kind: str) -> None:
    assert content_type(Path(name)) == kind
