"""Reads and writes container images as OCI image layouts, in a canonical form: one source gives the same bytes.

Builders differ in what they write around the same files: times, owners, order, compression, labels. So the result of a
builder is rewritten: the base's layers stay as they are, everything above them becomes one sorted layer, compressed by
one pinned library (libdeflate), and configuration and manifest have one notation.
Formats: https://github.com/opencontainers/image-spec
"""

import gzip
import hashlib
import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import deflate

from imagepipe.errors import PipelineError
from imagepipe.files import new_folder

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"

#: Level of libdeflate, from 1 to 12. Above 9 a layer takes many times longer and hardly gets smaller.
_COMPRESSION = 9
_WHITEOUT = ".wh."
#: Settings of an image that matter when it runs.
_SETTINGS = ("Cmd", "Entrypoint", "Env", "User", "WorkingDir")

#: Files of a base for interactive use and for building, which a function must not have. A layer cannot remove files of
#: another, but it can hide them.
_HIDDEN = re.compile(
    r"((usr/(local/)?|var/lang/)(s?bin/(pip|wheel)[^/]*"
    r"|lib/python3[^/]*/((site|dist)-packages/(pip|setuptools|wheel)(-[^/]*)?|ensurepip))"
    r"|usr/share/python-wheels|root/\.[^/]*history)"
)


@dataclass(frozen=True)
class Layer:
    """One layer, as an uncompressed tar."""

    tar: bytes

    @property
    def diff_id(self) -> str:
        """Return the digest of the uncompressed tar."""
        return _digest(self.tar)


@dataclass(frozen=True)
class Built:
    """The result of a builder: the image's configuration, and its layers from the lowest up."""

    config: dict[str, Any]
    layers: list[Layer]


class Layout:
    """An OCI image layout that holds one image of one platform."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def descriptor(self) -> dict[str, Any]:
        """Return the descriptor of the manifest.

        Raises:
            PipelineError: the folder holds no image, or several.
        """
        try:
            manifests = json.loads((self.folder / "index.json").read_text())["manifests"]
        except (OSError, ValueError, KeyError):
            raise PipelineError(f"{self.folder} holds no image: run make build") from None
        if len(manifests) != 1 or manifests[0]["mediaType"] != MANIFEST_TYPE:
            raise PipelineError(f"{self.folder} must hold exactly one image of one platform: run make build")
        return dict(manifests[0])

    @property
    def digest(self) -> str:
        """Return the digest of the manifest."""
        return str(self.descriptor["digest"])

    @property
    def manifest(self) -> dict[str, Any]:
        """Return the manifest."""
        return dict(json.loads(self.blob(self.digest)))

    @property
    def config(self) -> dict[str, Any]:
        """Return the configuration."""
        return dict(json.loads(self.blob(self.manifest["config"]["digest"])))

    @property
    def platform(self) -> str:
        """Return the platform, such as linux/amd64."""
        return f"{self.config['os']}/{self.config['architecture']}"

    @property
    def built(self) -> Built:
        """Return configuration and layers."""
        return Built(self.config, list(self.layers()))

    def blob(self, digest: str) -> bytes:
        """Read a blob.

        Raises:
            PipelineError: the blob is missing, or its content does not have this digest.
        """
        file = self.folder / "blobs" / digest.replace(":", "/")
        if not file.exists() or _digest(content := file.read_bytes()) != digest:
            raise PipelineError(f"{self.folder} is damaged: {digest} is missing or changed: build the image again")
        return content

    def layers(self) -> Iterator[Layer]:
        """Read the layers from the lowest up."""
        for descriptor in self.manifest["layers"]:
            yield Layer(_decompress(self.blob(descriptor["digest"])))

    def size(self, base: Sequence[str]) -> dict[str, int]:
        """Return the bytes of all layers and of those above a base, compressed and uncompressed.

        Args:
            base: diff ids of the base's layers.
        """
        sizes = {"compressed": 0, "uncompressed": 0, "compressed_above_base": 0, "uncompressed_above_base": 0}
        for descriptor, layer in zip(self.manifest["layers"], self.layers(), strict=True):
            for scope in ("", "_above_base") if layer.diff_id not in base else ("",):
                sizes[f"compressed{scope}"] += descriptor["size"]
                sizes[f"uncompressed{scope}"] += len(layer.tar)
        return sizes

    def unpack(self, root: Path) -> None:
        """Unpack the image to a file tree, as a container runtime does: layer upon layer, with whiteouts applied."""
        with new_folder(root) as partial:
            for layer in self.layers():
                with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
                    members = archive.getmembers()
                    for member in members:
                        if _is_whiteout(member.name):
                            _apply_whiteout(partial, member.name)
                    wanted = [member for member in members if not _is_whiteout(member.name) and not member.isdev()]
                    archive.extractall(partial, wanted, filter="tar")


def write(folder: Path, layers: list[Layer], config: dict[str, Any]) -> Layout:
    """Write an image of these layers.

    Args:
        config: the image configuration without `rootfs` and `history`.
    """
    whole = {
        **config,
        "history": [{"created": config["created"], "created_by": "imagepipe build"} for _ in layers],
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    with new_folder(folder) as partial:
        store = _Blobs(partial)
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": store.put(_json(whole), CONFIG_TYPE),
            "layers": [store.put(compress(layer.tar), LAYER_TYPE) for layer in layers],
        }
        store.finish(manifest)
    return Layout(folder)


class _Blobs:
    """The files of a layout that is being written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)

    def put(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = _digest(content)
        (self._folder / "blobs" / digest.replace(":", "/")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def finish(self, manifest: dict[str, Any]) -> None:
        index = {"schemaVersion": 2, "manifests": [self.put(_json(manifest), MANIFEST_TYPE)]}
        (self._folder / "index.json").write_bytes(_json(index))
        (self._folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def artifact(folder: Path, content: bytes, media_type: str, subject: dict[str, Any]) -> Layout:
    """Write an artifact that describes an image, such as a bill of materials, as a layout of its own.

    Args:
        subject: descriptor of the image.

    https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
    """
    subject = {name: subject[name] for name in ("mediaType", "digest", "size")}
    with new_folder(folder) as partial:
        store = _Blobs(partial)
        store.finish(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": media_type,
                "config": {**store.put(b"{}", _EMPTY_TYPE), "data": "e30="},
                "layers": [store.put(content, media_type)],
                "subject": subject,
            }
        )
    return Layout(folder)


def read_docker_archive(archive: Path) -> Built:
    """Read the one image in an archive of `docker save`.

    Every version of Docker writes manifest.json into it; few write an image layout.
    """
    with tarfile.open(archive) as files:

        def read(name: str) -> bytes:
            file = files.extractfile(name)
            assert file is not None
            return file.read()

        (image,) = json.loads(read("manifest.json"))
        layers = [Layer(_decompress(read(name))) for name in image["Layers"]]
        return Built(json.loads(read(image["Config"])), layers)


def write_canonical(built: Built, base: list[str], labels: dict[str, str], moment: int, folder: Path) -> Layout:
    """Write the result of a builder in canonical form.

    Args:
        base: diff ids of the base's layers, which the image must begin with.
        labels: all labels of the result; labels of the builder are dropped.
        moment: date of every file and of the image, in seconds since 1970.

    Raises:
        PipelineError: the image does not begin with the layers of the base.
    """
    config = built.config
    if config["rootfs"]["diff_ids"][: len(base)] != base:
        raise PipelineError(
            "the built image does not begin with its base's layers: is the base still the same? (make base)"
        )
    settings = {name: value for name, value in config["config"].items() if name in _SETTINGS}
    whole = {
        "architecture": config["architecture"],
        "config": {**settings, "Labels": labels},
        "created": datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "os": config["os"],
    }
    below, above = built.layers[: len(base)], built.layers[len(base) :]
    return write(folder, [*below, merge(above, moment, hiding=_paths_to_hide(below))], whole)


def merge(layers: list[Layer], moment: int, hiding: Iterable[str] = ()) -> Layer:
    """Merge layers to one. Its entries are sorted by name, belong to root and have the same date.

    Args:
        moment: date of all entries, in seconds since 1970.
        hiding: paths of lower layers to hide.

    Raises:
        PipelineError: a layer removes files of another one, which one layer cannot express.
    """
    entries: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    for path in map(PurePosixPath, hiding):
        name = str(path.with_name(_WHITEOUT + path.name))
        entries[name] = (tarfile.TarInfo(name), b"")
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
            for member in archive:
                name = member.name.removeprefix("./").strip("/")
                if name in {"", "."} or member.isdev():  # a container runtime makes its own devices
                    continue
                if _is_whiteout(name):
                    raise PipelineError(f"the last stage of the Dockerfile removes files ({name}): it must only copy")
                content = archive.extractfile(member) if member.isfile() or member.islnk() else None
                entries[name] = (member, content.read() if content else b"")
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, (member, data) in sorted(entries.items()):
            entry = tarfile.TarInfo(name)
            entry.type = tarfile.REGTYPE if member.islnk() else member.type  # a hard link is one more copy
            entry.linkname = member.linkname if member.issym() else ""
            entry.mode, entry.mtime, entry.size = _mode(member), moment, len(data)
            archive.addfile(entry, io.BytesIO(data))
    return Layer(written.getvalue())


def _mode(member: tarfile.TarInfo) -> int:
    """Return a mode that does not depend on the builder's umask: everybody may read, only root may write."""
    if member.issym():
        return 0o777
    if member.isdir():
        return 0o1777 if member.mode & 0o1000 else 0o755
    return 0o755 if member.mode & 0o100 else 0o644


def _paths_to_hide(layers: list[Layer]) -> set[str]:
    """Return the paths to hide in these layers. A hidden folder hides its content."""
    paths = set()
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer.tar)) as archive:
            for name in archive.getnames():
                if match := _HIDDEN.match(name.removeprefix("./")):
                    paths.add(match[0])
    return paths


def compress(content: bytes) -> bytes:
    """Compress with gzip, without a time or a name in the header."""
    return bytes(deflate.gzip_compress(content, _COMPRESSION))


def _decompress(content: bytes) -> bytes:
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _is_whiteout(name: str) -> bool:
    return PurePosixPath(name).name.startswith(_WHITEOUT)


def _apply_whiteout(root: Path, name: str) -> None:
    """Apply a whiteout: https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts."""
    path = PurePosixPath(name)
    folder = root / path.parent
    hidden = path.name.removeprefix(_WHITEOUT)
    victims = list(folder.iterdir()) if hidden == ".wh..opq" and folder.is_dir() else [folder / hidden]
    for victim in victims:
        if victim.is_dir() and not victim.is_symlink():
            shutil.rmtree(victim)
        else:
            victim.unlink(missing_ok=True)


def _json(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
