"""From lambda-image/ to an image layout in build/image: the same digest wherever and whenever it is built.

Docker buildx does the work where a daemon answers, buildah where none does; neither is trusted with how the result is
written down (see layout).
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
#: The newest image, as it is pushed and run.
IMAGE = BUILD / "image"
PLATFORMS = ("linux/amd64", "linux/arm64")
LICENCE = "MIT"
_EPOCH = "1970-01-01T00:00:00Z"

#: What of a machine's trust the build borrows to reach a package index; none of it stays in a layer.
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
_PIP_CONFIG = ("PIP_CONFIG_FILE", "~/.config/pip/pip.conf", "~/.pip/pip.conf", "/etc/pip.conf")


@dataclass(frozen=True)
class Source:
    """What an image is made from."""

    commit: str  # the last one that changed lambda-image/
    moment: int  # that commit's time in seconds since 1970
    dirty: bool  # lambda-image/ holds more than that commit
    version: str


def source() -> Source:
    """Raises PipelineError outside a git clone: there is no commit to name then."""
    try:
        commit, moment = _git("log", "-1", "--format=%H %ct", "--", str(IMAGE_SOURCE)).split()
    except (subprocess.CalledProcessError, ValueError, FileNotFoundError):
        raise PipelineError("an image names the commit it was built from, and this is no git clone") from None
    dirty = bool(_git("status", "--porcelain", "--", str(IMAGE_SOURCE)))
    return Source(commit, int(moment), dirty, importlib.metadata.version("imagepipe"))


def image(platform: str, say: Callable[[str], None]) -> dict[str, Any]:
    """Builds the image for a platform unless it is there already, and returns what build/image.json says of it.

    Raises:
        PipelineError: no base, no builder, or a build that fails; the last image stays as it was.
    """
    if platform not in PLATFORMS:
        raise PipelineError(f"PLATFORM must be one of {', '.join(PLATFORMS)}, not {platform!r}")
    found = source()
    base = bases.find(platform.split("/")[1], say)
    say(f"base: {base.kind}, {base.name}, {base.digest}")
    inputs = _inputs(platform, base, found)
    if (known := built()) and known["inputs"] == inputs:
        say(f"nothing changed since it was built: {known['digest']}")
        source_tree.record(known)
        return known
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        raw = _builder(say)(Path(scratch), platform, base, IMAGE_SOURCE)
        made = layout.canonical(raw, list(base.diff_ids), labels(found), found.moment, IMAGE)
    record = {
        "digest": made.digest,
        "platform": made.platform,
        "base": {"kind": base.kind, "name": base.name, "digest": base.digest},
        "bytes": made.size(base.diff_ids),
        "source": asdict(found),
        "recipe": Recipe().version,
        "inputs": inputs,
        "built_from": "image",
    }
    (IMAGE / "build.json").write_text(json.dumps(record, indent=2) + "\n")
    source_tree.record(record)
    return record


def peer(context_folder: Path, platform: str, folder: Path) -> tuple[Layout, Base]:
    """Builds another Dockerfile on the same base, as it comes, to be compared with ours."""
    base = bases.find(platform.split("/")[1])
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=BUILD) as scratch:
        raw = _builder(lambda _: None)(Path(scratch), platform, base, context_folder)
        return layout.write(folder, raw.layers, {**raw.config, "created": _EPOCH}), base


def labels(found: Source) -> dict[str, str]:
    """https://github.com/opencontainers/image-spec/blob/main/annotations.md, and the version of the default recipe."""
    return {
        "org.opencontainers.image.licenses": LICENCE,
        "org.opencontainers.image.revision": found.commit + ("-dirty" if found.dirty else ""),
        "org.opencontainers.image.title": "image-processor",
        "org.opencontainers.image.version": found.version,
        "image-processor.recipe": Recipe().version,
    }


def built() -> dict[str, Any] | None:
    """What is known of the image in build/image, if there is one and it is whole."""
    try:
        known: dict[str, Any] = json.loads((IMAGE / "build.json").read_text())
        return known if Layout(IMAGE).digest == known["digest"] else None
    except (OSError, ValueError, KeyError, PipelineError):
        return None


def _inputs(platform: str, base: Base, found: Source) -> str:
    """Changes with everything that the digest depends on."""
    parts = [platform, base.digest, source_tree.digest(), json.dumps(labels(found), sort_keys=True), str(found.moment)]
    parts += [hashlib.sha256(Path(layout.__file__).read_bytes()).hexdigest(), importlib.metadata.version("deflate")]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _builder(say: Callable[[str], None]) -> Callable[[Path, str, Base, Path], Built]:
    if _answers("docker", "buildx", "version") and _answers("docker", "info"):
        say("builder: docker buildx")
        return _with_docker
    if shutil.which("buildah"):
        say("builder: buildah, as no Docker daemon answers")
        return _with_buildah
    raise PipelineError(
        "no Docker daemon answers and there is no buildah: start Docker, or install one (Debian: apt install buildah)"
    )


def _with_docker(scratch: Path, platform: str, base: Base, context_folder: Path) -> Built:
    # Images go in and out as archives: Docker's default driver takes image layouts only if containerd keeps its images.
    # Attestations would turn the manifest into an index, which Lambda refuses.
    archive, tag = scratch / "image.tar", f"imagepipe-build:{scratch.name}"
    native = _native(base)
    platforms = {base: platform, native: native_platform()}
    names = {each: each.reference for each in platforms}
    try:
        for each in platforms:
            if each.kind == bases.STAND_IN:
                names[each] = _import(each, platforms[each], scratch)
        _run(
            [
                *("docker", "buildx", "build", f"--platform={platform}", "--provenance=false", "--sbom=false"),
                *(f"--build-arg=BASE_IMAGE={names[base]}", f"--build-arg=BUILD_IMAGE={names[native]}"),
                *(*_secrets(scratch), "--load", f"--tag={tag}", str(context_folder)),
            ]
        )
        _run(["docker", "save", f"--output={archive}", tag])
    finally:
        imported = [names[each] for each in platforms if each.kind == bases.STAND_IN]
        subprocess.run(["docker", "image", "rm", tag, *imported], capture_output=True, check=False)
    return layout.saved(archive)


def _import(base: Base, platform: str, scratch: Path) -> str:
    """Gives Docker a stand-in, which is a single layer, and returns the name it has there."""
    image = Layout(BUILD / base.reference.removeprefix("oci:")).built
    (layer,), archive = image.layers, scratch / "base.tar"
    archive.write_bytes(layer.tar)
    name = f"imagepipe-base:{base.digest.removeprefix('sha256:')}"
    settings = [f"--change=ENV {entry}" for entry in image.config["config"]["Env"]]
    _run(["docker", "import", f"--platform={platform}", *settings, str(archive), name])
    return name


def _native(base: Base) -> Base:
    """The base that the build stage runs on."""
    native = bases.find(native_platform().split("/")[1])
    if native.kind != base.kind:
        raise PipelineError(f"the base is {base.kind} for the target, but {native.kind} for this machine: make base")
    return native


def _with_buildah(scratch: Path, platform: str, base: Base, context_folder: Path) -> Built:
    # A store of its own: whatever else the machine's containers do, nothing is mixed up and nothing is left behind.
    store = ["--root", str(scratch / "store"), "--runroot", str(scratch / "run"), "--storage-driver", "vfs"]
    names = []
    for each in (base, _native(base)):
        names.append(each.reference)
        if each.kind == bases.STAND_IN:
            name = each.reference.removeprefix("oci:")
            # By its id: by name, buildah looks for the image of the first stage's platform.
            names[-1] = _run(["buildah", *store, "pull", "--quiet", f"--arch={name.rsplit('/', 1)[1]}", each.reference])
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
    """Mounted into one step and never part of a layer; empty where the machine has nothing of its own."""
    empty = scratch / "empty"
    empty.touch()
    certificates = next((os.environ[name] for name in _CERTIFICATES if os.path.isfile(os.environ.get(name, ""))), empty)
    candidates = (os.environ.get(name, "") if name.isupper() else os.path.expanduser(name) for name in _PIP_CONFIG)
    settings = next((name for name in candidates if os.path.isfile(name)), empty)
    return [f"--secret=id=ca,src={certificates}", f"--secret=id=pip,src={settings}"]


def native_platform() -> str:
    """The platform that runs here without emulation."""
    machine = os.uname().machine
    return "linux/" + {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def _answers(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str]) -> str:
    """What a command prints; its own words about a failure become the error."""
    finished = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=False)
    if finished.returncode:
        words = [line for line in (finished.stderr + finished.stdout).strip().splitlines() if line.strip()]
        if "no space left" in finished.stderr.lower():
            raise PipelineError(f"the disk is full: the build needs about 2 GB under {BUILD}")
        reasons = [line for line in words if line.startswith(("assemble:", "ERROR:"))]
        raise PipelineError(f"{command[0]} could not build the image:\n" + "\n".join((reasons or words)[-8:]))
    return finished.stdout.strip()


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()
