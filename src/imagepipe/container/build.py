"""Builds lambda-image/ to an image layout in build/image, with the same digest wherever and whenever it is built.

Docker buildx builds if its daemon answers, otherwise buildah. `layout` then rewrites the result in canonical form.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from image_processor.recipe import Recipe
from imagepipe.container import base as bases
from imagepipe.container import layout, source_tree
from imagepipe.container.base import Base
from imagepipe.container.layout import Built, Layout
from imagepipe.container.source_tree import IMAGE_SOURCE
from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

BUILD = ROOT / "build"
#: The last image that was built, as it is pushed and run.
IMAGE = BUILD / "image"
PLATFORMS = ("linux/amd64", "linux/arm64")
LICENCE = "MIT"
_EPOCH = "1970-01-01T00:00:00Z"

#: Variables of this machine that the build uses to reach a package index. None of them stays in a layer.
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PIP_CONFIG = ("PIP_CONFIG_FILE", "~/.config/pip/pip.conf", "~/.pip/pip.conf", "/etc/pip.conf")


@dataclass(frozen=True)
class Source:
    """The commit that an image is made from."""

    commit: str  # the last one that changed lambda-image/
    moment: int  # that commit's time in seconds since 1970
    dirty: bool  # lambda-image/ has uncommitted changes
    version: str


def source() -> Source:
    """Return the last commit of lambda-image/.

    Raises:
        PipelineError: this is no git clone.
    """
    try:
        commit, moment = _git("log", "-1", "--format=%H %ct", "--", str(IMAGE_SOURCE)).split()
    except (subprocess.CalledProcessError, ValueError, FileNotFoundError):
        raise PipelineError(
            "an image names the commit it was built from, and this is no git clone: clone the repository"
        ) from None
    dirty = bool(_git("status", "--porcelain", "--", str(IMAGE_SOURCE)))
    return Source(commit, int(moment), dirty, source_tree.version())


def image(platform: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Build the image for a platform, unless nothing changed, and return the content of build/image.json.

    Raises:
        PipelineError: base or builder is missing, or the build fails; the last image stays as it was.
    """
    if platform not in PLATFORMS:
        raise PipelineError(f"PLATFORM must be one of {', '.join(PLATFORMS)}, not {platform!r}")
    commit = source()
    base = bases.find(platform.split("/")[1], say)
    say(f"base: {base.kind}, {base.name}, {base.digest}")
    inputs = _inputs(platform, base, commit)
    if (last := last_build()) and last["inputs"] == inputs:
        say(f"nothing changed since the last build: {last['digest']}")
        source_tree.record(last)
        return last
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        raw = _builder(say)(Path(scratch), platform, base, IMAGE_SOURCE)
        built = layout.write_canonical(raw, list(base.diff_ids), labels(commit), commit.moment, IMAGE)
    record = {
        "digest": built.digest,
        "platform": built.platform,
        "base": {"kind": base.kind, "name": base.name, "digest": base.digest},
        "bytes": built.size(base.diff_ids),
        "source": asdict(commit),
        "recipe": Recipe().version,
        "inputs": inputs,
        "built_from": "image",
    }
    (IMAGE / "build.json").write_text(json.dumps(record, indent=2) + "\n")
    source_tree.record(record)
    return record


def peer(context_folder: Path, platform: str, folder: Path) -> tuple[Layout, Base]:
    """Build another Dockerfile on the same base, without canonical form, to compare it with this image."""
    base = bases.find(platform.split("/")[1])
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        raw = _builder(lambda _: None)(Path(scratch), platform, base, context_folder)
        return layout.write(folder, raw.layers, {**raw.config, "created": _EPOCH}), base


def labels(commit: Source) -> dict[str, str]:
    """Return the labels of an image: OCI annotations and the version of the default recipe.

    https://github.com/opencontainers/image-spec/blob/main/annotations.md
    """
    return {
        "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.revision": commit.commit + ("-dirty" if commit.dirty else ""),
        "org.opencontainers.image.title": "image-processor",
        "org.opencontainers.image.version": commit.version,
        "image-processor.recipe": Recipe().version,
    }


def last_build() -> dict[str, Any] | None:
    """Return the record of the image in build/image, or None if there is no complete image."""
    try:
        record: dict[str, Any] = json.loads((IMAGE / "build.json").read_text())
        return record if Layout(IMAGE).digest == record["digest"] else None
    except (OSError, ValueError, KeyError, PipelineError):
        return None


def _inputs(platform: str, base: Base, commit: Source) -> str:
    """Compute a digest of everything that the image's digest depends on."""
    parts = [
        platform,
        base.digest,
        source_tree.digest(),
        json.dumps(labels(commit), sort_keys=True),
        str(commit.moment),
    ]
    parts += [hashlib.sha256(Path(layout.__file__).read_bytes()).hexdigest(), importlib.metadata.version("deflate")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _builder(say: Callable[[str], None]) -> Callable[[Path, str, Base, Path], Built]:
    if _answers("docker", "buildx", "version") and _answers("docker", "info"):
        say("builder: docker buildx")
        return _with_docker
    if shutil.which("buildah"):
        say("builder: buildah, because no Docker daemon answers")
        return _with_buildah
    raise PipelineError(
        "no Docker daemon answers and there is no buildah: start Docker, or install one (Debian: apt install buildah)"
    )


def _with_docker(scratch: Path, platform: str, base: Base, context_folder: Path) -> Built:
    # Images go in and out as archives: Docker's default driver reads layouts only if containerd stores its images.
    # Attestations would turn the manifest into an index, which Lambda refuses.
    archive, tag = scratch / "image.tar", f"imagepipe-build:{scratch.name}"
    native = _native(base)
    platforms = {base: platform, native: native_platform()}
    names = {one: one.reference for one in platforms}
    try:
        for one in platforms:
            if one.kind == bases.STAND_IN:
                names[one] = _import(one, platforms[one], scratch)
        _run(
            [
                *("docker", "buildx", "build", f"--platform={platform}", "--provenance=false", "--sbom=false"),
                *(f"--build-arg=BASE_IMAGE={names[base]}", f"--build-arg=BUILD_IMAGE={names[native]}"),
                *(*_secrets(scratch), "--load", f"--tag={tag}", str(context_folder)),
            ]
        )
        _run(["docker", "save", f"--output={archive}", tag])
    finally:
        imported = [names[one] for one in platforms if one.kind == bases.STAND_IN]
        subprocess.run(["docker", "image", "rm", tag, *imported], capture_output=True, check=False)
    return layout.read_docker_archive(archive)


def _import(base: Base, platform: str, scratch: Path) -> str:
    """Import a stand-in, which is a single layer, into Docker, and return its name there."""
    image = Layout(BUILD / base.reference.removeprefix("oci:")).built
    (layer,), archive = image.layers, scratch / "base.tar"
    archive.write_bytes(layer.tar)
    name = f"imagepipe-base:{base.digest.removeprefix('sha256:')}"
    settings = [f"--change=ENV {entry}" for entry in image.config["config"]["Env"]]
    _run(["docker", "import", f"--platform={platform}", *settings, str(archive), name])
    return name


def _native(base: Base) -> Base:
    """Return the base of the build stage, which runs without emulation.

    Raises:
        PipelineError: only one of the two bases is a stand-in.
    """
    native = bases.find(native_platform().split("/")[1])
    if native.kind != base.kind:
        raise PipelineError(
            f"the base is {base.kind} for the target, but {native.kind} for this machine: run make base"
        )
    return native


def _with_buildah(scratch: Path, platform: str, base: Base, context_folder: Path) -> Built:
    # A separate store: the build shares no images with other containers of the machine, and leaves none behind.
    store = ["--root", str(scratch / "store"), "--runroot", str(scratch / "run"), "--storage-driver", "vfs"]
    names = []
    for one in (base, _native(base)):
        names.append(one.reference)
        if one.kind == bases.STAND_IN:
            name = one.reference.removeprefix("oci:")
            # By its id: by name, buildah looks for the image of the first stage's platform.
            names[-1] = _run(["buildah", *store, "pull", "--quiet", f"--arch={name.rsplit('/', 1)[1]}", one.reference])
    _run(
        [
            *("buildah", *store, "build", "--isolation=chroot", "--network=host", f"--platform={platform}"),
            *(f"--build-arg=BASE_IMAGE={names[0]}", f"--build-arg=BUILD_IMAGE={names[1]}"),
            f"--build-arg=BUILDPLATFORM={native_platform()}",
            *(f"--build-arg=TARGETARCH={platform.split('/')[1]}", *_secrets(scratch)),
            *(
                ["--pull-never"] if base.kind == bases.STAND_IN else []
            ),  # or buildah asks a registry for the other platform's
            *("--tag=built", str(context_folder)),
        ]
    )
    folder = scratch / "image"
    _run(["buildah", *store, "push", "built", f"oci:{folder.relative_to(BUILD)}:built"])
    return Layout(folder).built


def _secrets(scratch: Path) -> list[str]:
    """Return certificates and pip settings of this machine, mounted into one step and never part of a layer."""
    empty = scratch / "empty"
    empty.touch()
    certificates = next((os.environ[name] for name in _CERTIFICATES if os.path.isfile(os.environ.get(name, ""))), empty)
    candidates = (os.environ.get(name, "") if name.isupper() else os.path.expanduser(name) for name in _PIP_CONFIG)
    settings = next((name for name in candidates if os.path.isfile(name)), empty)
    return [f"--secret=id=ca,src={certificates}", f"--secret=id=pip,src={settings}"]


def native_platform() -> str:
    """Return the platform that runs on this machine without emulation."""
    machine = os.uname().machine
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str]) -> str:
    """Run a command and return its output. After a failure, its messages become the error."""
    finished = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)
    if finished.returncode:
        lines = [line for line in (finished.stderr + finished.stdout).strip().splitlines() if line.strip()]
        if "no space left" in finished.stderr.lower():
            raise PipelineError(f"the disk is full: free about 2 GB for the build under {BUILD}")
        reasons = [line for line in lines if line.startswith(("assemble:", "ERROR:"))]
        raise PipelineError(f"{command[0]} could not build the image:\n" + "\n".join((reasons or lines)[-8:]))
    return finished.stdout.strip()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
