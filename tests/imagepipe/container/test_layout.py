"""The canonical form of a container image, and how its layers are unpacked."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagepipe.container import layout
from imagepipe.container.layout import Layer, Layout
from imagepipe.errors import PipelineError


def tar(*entries: tuple[str, bytes | str | None], **fields: Any) -> Layer:
    """A layer of files (bytes), symbolic links (text) and folders (None), in that order."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755 if content is None else 0o644
            for field, value in fields.items():
                setattr(entry, field, value)
            if isinstance(content, bytes):
                entry.size = len(content)
            else:
                entry.type, entry.linkname = (tarfile.SYMTYPE, content) if content else (tarfile.DIRTYPE, "")
            archive.addfile(entry, io.BytesIO(content if isinstance(content, bytes) else b""))
    return Layer(written.getvalue())


CONFIG = {
    "architecture": "amd64",
    "os": "linux",
    "created": "2026-01-01T00:00:00Z",
    "variant": "v1",
    "config": {"Env": ["A=1"], "Labels": {"io.buildah.version": "1"}, "Volumes": {}},
}
BASE = tar(("usr/", None), ("usr/bin/pip3", b"pip"), ("usr/bin/python", b"python"))


def canonical(folder: Path, *layers: Layer, **config: Any) -> Layout:
    built = layout.write(folder / "built", [BASE, *layers], {**CONFIG, **config})
    return layout.write_canonical(built.built, [BASE.diff_id], {"title": "t"}, 1_000_000_000, folder / "canonical")


def names(image: Layout) -> list[str]:
    layer = list(image.layers())[-1]
    with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
        return archive.getnames()


def test_same_files_are_the_same_image_however_a_builder_wrote_them(tmp_path: Path) -> None:
    first = canonical(tmp_path / "1", tar(("var/", None), ("var/task/b", b"b"), ("var/task/a", b"a"), mtime=5, uid=7))
    second = canonical(
        tmp_path / "2",
        tar(("./var/task/a", b"a"), mtime=9, uname="me"),
        tar(
            ("var/task/b", b"old"),
        ),
        tar(("var/task/b", b"b"), ("var", None)),
        created="2027-01-01T00:00:00Z",
        variant="v8",
    )
    assert first.digest == second.digest


def test_other_files_are_another_image(tmp_path: Path) -> None:
    first = canonical(tmp_path / "1", tar(("var/task/a", b"a")))
    assert first.digest != canonical(tmp_path / "2", tar(("var/task/a", b"b"))).digest
    assert first.digest != canonical(tmp_path / "3", tar(("var/task/a", b"a"), mode=0o755)).digest


@pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["as they are", "as containerd keeps them"])
def test_what_docker_saves_is_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    config = CONFIG | {"rootfs": {"type": "layers", "diff_ids": [BASE.diff_id]}}
    named = {"Config": "0123.json", "RepoTags": ["a:b"], "Layers": ["4567/layer.tar"]}
    written = tar(
        ("0123.json", json.dumps(config).encode()),
        ("4567/layer.tar", compress(BASE.tar)),
        ("manifest.json", json.dumps([named]).encode()),
    )
    (tmp_path / "image.tar").write_bytes(written.tar)
    image = layout.read_docker_archive(tmp_path / "image.tar")
    assert (image.config, image.layers) == (config, [BASE])


def test_devices_are_left_to_whatever_runs_the_image(tmp_path: Path) -> None:
    image = canonical(tmp_path, tar(("dev/console", b""), type=tarfile.CHRTYPE), tar(("a", b"a")))
    assert "dev/console" not in names(image)


def test_builders_own_labels_and_settings_are_dropped(tmp_path: Path) -> None:
    config = canonical(tmp_path, tar(("a", b"a"))).config
    assert config["config"] == {"Env": ["A=1"], "Labels": {"title": "t"}}
    assert config["created"] == "2001-09-09T01:46:40Z"
    assert "variant" not in config


def test_base_keeps_its_layers_and_what_is_for_building_is_hidden(tmp_path: Path) -> None:
    image = canonical(tmp_path, tar(("a", b"a")))
    assert image.config["rootfs"]["diff_ids"][0] == BASE.diff_id
    assert names(image) == ["a", "usr/bin/.wh.pip3"]
    image.unpack(tmp_path / "root")
    assert sorted(file.name for file in (tmp_path / "root/usr/bin").iterdir()) == ["python"]


def test_image_that_does_not_stand_on_its_base_is_refused(tmp_path: Path) -> None:
    built = layout.write(tmp_path / "built", [tar(("a", b"a"))], CONFIG)
    with pytest.raises(PipelineError, match="is the base still the same"):
        layout.write_canonical(built.built, [BASE.diff_id], {}, 0, tmp_path / "canonical")


def test_last_stage_that_removes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="must only copy"):
        canonical(tmp_path, tar(("usr/bin/.wh.python", b"")))


def test_damaged_blob_is_named(tmp_path: Path) -> None:
    image = canonical(tmp_path, tar(("a", b"a")))
    blob = image.folder / "blobs" / image.manifest["layers"][0]["digest"].replace(":", "/")
    blob.write_bytes(blob.read_bytes()[:-1])
    with pytest.raises(PipelineError, match="is damaged"):
        image.unpack(tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_unpacking_applies_whiteouts_in_the_order_of_the_layers(tmp_path: Path) -> None:
    image = layout.write(
        tmp_path / "image",
        [
            tar(("etc/", None), ("etc/a", b"1"), ("opt/", None), ("opt/x", b"1"), ("opt/y", b"1")),
            tar(("etc/.wh.a", b""), ("opt/.wh..wh..opq", b""), ("opt/z", b"2")),
            tar(("etc/b", b"3"), ("lib", "usr/lib")),
        ],
        CONFIG,
    )
    image.unpack(tmp_path / "root")
    assert sorted(file.name for file in (tmp_path / "root/etc").iterdir()) == ["b"]
    assert sorted(file.name for file in (tmp_path / "root/opt").iterdir()) == ["z"]
    assert (tmp_path / "root/lib").readlink() == Path("usr/lib")


def test_layer_cannot_write_outside_the_root(tmp_path: Path) -> None:
    image = layout.write(tmp_path / "image", [tar(("../outside", b"1"))], CONFIG)
    with pytest.raises(tarfile.OutsideDestinationError):
        image.unpack(tmp_path / "root")
    assert not (tmp_path / "outside").exists()
