"""Puts what is missing into this clone: `.venv` (Python packages) and `.tools` (programs pinned in tools.json).

Runs before anything is installed, so it uses the standard library only. What is already there is left alone: a run that
finds everything takes a fraction of a second. Programs come from PATH when the version fits, else from their release
(checked against the SHA-256 in tools.json), else they are built with Go from the module proxy (checked against the
module hash in tools.json and against Go's checksum database). The AWS provider is checked against provider.lock.hcl.

After changing a version in tools.json, a maintainer runs it with --pin: that fetches the lists of SHA-256 and the
provider's hashes, and writes both files.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - the message is for whoever has an older one
    sys.exit(
        "setup: Python 3.11 or newer is needed, this is %d.%d: make setup PYTHON=python3.12" % sys.version_info[:2]
    )

import argparse
import base64
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
VENV = ROOT / ".venv"
PINS_FILE = ROOT / "tools.json"
PINS = json.loads(PINS_FILE.read_text())
PROVIDER_LOCK = ROOT / "provider.lock.hcl"
#: The same with a hash of this platform, where PROVIDER_LOCK has none. terragrunt.hcl takes it if it is there.
LOCAL_LOCK = TOOLS / "provider.lock.hcl"

OS = platform.system().lower()
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
PLATFORM = f"{OS}_{ARCH}"
#: Those that releases are pinned for.
PLATFORMS = ("darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64")

HASHICORP = "https://releases.hashicorp.com/terraform"

PIN_COMMAND = "python3 scripts/setup.py --pin, compare what it writes with another source, and commit it"

#: Where Terraform itself looks for provider mirrors, then where machines commonly have one. A few folders deep.
MIRROR_PLACES = (
    Path.home() / ".terraform.d/plugins",
    Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "terraform/plugins",
    *(
        Path(place)
        for place in ("/usr/local/share", "/usr/share", "/opt", "/usr/local", "/usr/lib", "/var/lib", "/srv")
    ),
)
MIRROR_DEPTH = 4

#: Steps for the local cloud and deployments. Linting and the tests need the other steps as well.
RUNTIME = ("python", "terraform", "provider", "terragrunt")
IMAGE = ("python", "crane", "image-programs")

#: Programs that build and run the image without Docker, and the registry for rehearsals: program → Debian package.
IMAGE_PROGRAMS = {
    "buildah": "buildah",
    "bwrap": "bubblewrap",
    "docker-registry": "docker-registry",
    "mmdebstrap": "mmdebstrap",
}


class SetupError(Exception):
    """A missing thing that setup cannot provide; the message names the fix."""


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def working(message: str) -> Iterator[None]:
    """Show what is going on and, at a terminal, for how long: a build takes minutes and must not look hung."""
    say(f"{message} …")
    started, done = time.monotonic(), threading.Event()

    def tick() -> None:
        while not done.wait(1):
            print(f"\r  {time.monotonic() - started:.0f} s ", end="", file=sys.stderr, flush=True)

    ticker = threading.Thread(target=tick, daemon=True)
    if sys.stderr.isatty():
        ticker.start()
    try:
        yield
    finally:
        done.set()
        if ticker.is_alive():
            ticker.join()
            print("\r", end="", file=sys.stderr)
    say(f"done in {time.monotonic() - started:.0f} s")


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command quietly and return its output; its last lines become the error if it fails."""
    finished = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    if finished.returncode:
        tail = "\n".join((finished.stderr or finished.stdout).strip().splitlines()[-8:])
        raise SetupError(f"`{' '.join(map(str, command))}` failed:\n{tail}")
    return finished.stdout


def fingerprint(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def on_path(name: str) -> str | None:
    """Return where the machine has a program, without our own .tools/bin, which `make env` puts on PATH."""
    places = [place for place in os.environ.get("PATH", "").split(os.pathsep) if Path(place or ".").resolve() != BIN]
    return shutil.which(name, path=os.pathsep.join(places))


# --- Python packages --------------------------------------------------------------------------------------------------


def python_fingerprint() -> str:
    inputs = (
        (ROOT / name).read_bytes() for name in ("requirements.txt", "pyproject.toml", "lambda-image/pyproject.toml")
    )
    return fingerprint(sys.version, str(VENV), *inputs)


def python_ready() -> bool:
    return all((VENV / "bin" / name).exists() for name in ("python", "imagepipe", "image-processor"))


def install_python() -> None:
    with working("Python packages into .venv"):
        try:
            run(sys.executable, "-m", "venv", "--clear", VENV)
        except SetupError as error:
            raise SetupError(
                f"no virtual environment could be made (Debian: apt install python3-venv)\n{error}"
            ) from None
        pip = (VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip, "--require-hashes", "-r", ROOT / "requirements.txt")
        both = ("--editable", ROOT, "--editable", ROOT / "lambda-image")
        run(*pip, "--no-deps", "--no-build-isolation", *both)


# --- programs ---------------------------------------------------------------------------------------------------------


def link(name: str, target: str) -> None:
    (BIN / name).unlink(missing_ok=True)
    (BIN / name).symlink_to(target)


def names(platform_name: str) -> dict[str, str]:
    """Return the words for a platform in the names of release files."""
    system, arch = platform_name.split("_")
    return {"os": system, "Os": system.title(), "arch": arch, "machine": {"amd64": "x86_64"}.get(arch, arch)}


def release_file(pin: dict[str, Any], key: str, platform_name: str = PLATFORM) -> str:
    """Return the address of a release's program (`asset`) or of its list of SHA-256 (`checksums`)."""
    version = pin.get("version") or pin["download"]
    base = f"https://{pin['module']}/releases/download/v{version}" if "module" in pin else f"{HASHICORP}/{version}"
    return f"{base}/{pin[key].format(version=version, **names(platform_name))}"


def fetch(url: str) -> bytes | None:
    """Return the content of an address; None if the site is out of reach."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return bytes(answer.read())
    except (urllib.error.URLError, OSError):
        return None


def download(url: str, sha256: str) -> bytes | None:
    """Fetch a release file of pinned content; None if the site is out of reach.

    Raises:
        SetupError: the file has another content. It may have been changed after its release.
    """
    content = fetch(url)
    if content is not None and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise SetupError(f"{url} has the SHA-256 {actual}, but tools.json pins {sha256}: not installed")
    return content


def unpack(content: bytes, asset: str, name: str) -> None:
    """Put the program `name` out of a release file (zip, tar.gz or the bare program) into .tools/bin."""
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        file, program = Path(folder) / asset, Path(folder) / "unpacked" / name
        file.write_bytes(content)
        program.parent.mkdir()
        if asset.endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                archive.extract(name, program.parent)
        elif asset.endswith(".tar.gz"):
            with tarfile.open(file) as archive:
                archive.extract(name, program.parent, filter="data")
        else:
            file.rename(program)
        program.chmod(0o755)
        program.replace(BIN / name)


def build_with_go(name: str, pin: dict[str, Any], reason: str) -> None:
    """Build in the module cache, where the module's own go.sum and replacements apply: `go install` refuses those."""
    version = pin["version"]
    go = shutil.which("go")
    if not go:
        raise SetupError(f"{name}: {reason}, and there is no Go: install Go 1.26, or put {name} {version} on PATH")
    environment = {**os.environ, "GOWORK": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
    with working(f"building {name} {version} with Go: {reason} (a minute or three on two cores)"):
        module = json.loads(run(go, "mod", "download", "-json", f"{pin['module']}@v{version}", env=environment))
        if module["Sum"] != pin["sum"]:
            raise SetupError(f"{name} {version}: module hash {module['Sum']} is not the pinned {pin['sum']}")
        flags = "-s -w " + pin.get("ldflags", "").format(version=version)
        build = ("build", "-C", module["Dir"], "-trimpath", "-ldflags", flags, "-o", BIN / name)
        run(go, *build, pin.get("package", "."), env=environment)


def install_go_tool(name: str) -> None:
    pin = PINS["go-tools"][name]
    version = pin["version"]
    if present := on_path(name):
        printed = subprocess.run(
            [present, pin.get("version-argument", "--version")], capture_output=True, text=True
        ).stdout
        if re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", printed):
            link(name, present)
            return
    sha256 = pin["sha256"].get(PLATFORM)
    if sha256 is None:
        build_with_go(name, pin, f"tools.json pins no release of it for {PLATFORM}")
    elif (content := download(url := release_file(pin, "asset"), sha256)) is None:
        build_with_go(name, pin, "github.com is out of reach")
    else:
        unpack(content, url.rsplit("/", 1)[1], name)
        say(f"{name} {version} downloaded")


def without_cli_config() -> dict[str, str]:
    """Return the environment without a Terraform CLI configuration: ours is to come, the machine's may be broken."""
    return {key: value for key, value in os.environ.items() if key != "TF_CLI_CONFIG_FILE"}


def terraform_fits(program: str) -> bool:
    version = json.loads(run(program, "version", "-json", env=without_cli_config()))["terraform_version"]
    pin = PINS["terraform"]
    low, have, high = ([int(n) for n in re.findall(r"\d+", v)[:3]] for v in (pin["minimum"], version, pin["below"]))
    return low <= have < high


def terraform_fingerprint() -> str:
    present = on_path("terraform")
    stat = os.stat(present) if present else None
    return fingerprint(json.dumps(PINS["terraform"]), str(present), str(stat and (stat.st_mtime_ns, stat.st_size)))


def install_terraform() -> None:
    pin = PINS["terraform"]
    if (present := on_path("terraform")) and terraform_fits(present):
        link("terraform", present)
        return
    needed = f">= {pin['minimum']}, < {pin['below']}"
    sha256 = pin["sha256"].get(PLATFORM)
    if sha256 is None:
        raise SetupError(
            f"tools.json pins no Terraform {pin['download']} for {PLATFORM}, and PATH has no Terraform {needed}: "
            f"put one there, or run {PIN_COMMAND}"
        )
    content = download(url := release_file(pin, "asset"), sha256)
    if content is None:
        raise SetupError(f"releases.hashicorp.com is out of reach and PATH has no Terraform {needed}: put one there")
    unpack(content, url.rsplit("/", 1)[1], "terraform")
    say(f"terraform {pin['download']} downloaded")


# --- Debian packages --------------------------------------------------------------------------------------------------


def missing_image_programs() -> list[str]:
    return [package for program, package in IMAGE_PROGRAMS.items() if not shutil.which(program)]


def install_image_programs() -> None:
    """Install them where no password is needed; elsewhere name what is missing."""
    packages = missing_image_programs()
    if not packages or OS != "linux":
        return
    privilege = [] if os.geteuid() == 0 else ["sudo", "-n"]
    apt = shutil.which("apt-get")
    if apt and (not privilege or subprocess.run([*privilege, "true"], capture_output=True).returncode == 0):
        with working(f"Debian packages: {', '.join(packages)}"):
            run(*privilege, apt, "update", "-qq")
            run(*privilege, "env", "DEBIAN_FRONTEND=noninteractive", apt, "install", "-y", "-qq", *packages)
    else:
        say(f"to build and run the image without Docker, install {', '.join(packages)}")


# --- the AWS provider -------------------------------------------------------------------------------------------------


def provider_place() -> str:
    """Return the place of the pinned AWS provider, unpacked, in Terraform's mirror layout."""
    return f"registry.terraform.io/hashicorp/aws/{PINS['terraform-provider-aws']}/{PLATFORM}"


@contextlib.contextmanager
def provider_folder() -> Iterator[Path]:
    """Make a folder with a configuration that needs the pinned provider, and remove it afterwards."""
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        needed = {"aws": {"source": "hashicorp/aws", "version": PINS["terraform-provider-aws"]}}
        (Path(folder) / "main.tf.json").write_text(json.dumps({"terraform": {"required_providers": needed}}))
        yield Path(folder)


def package_hash(folder: Path) -> str:
    """Return the hash h1: of an unpacked provider, as in lock files: golang.org/x/mod/sumdb/dirhash, Hash1."""
    digest = hashlib.sha256()
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    for name, file in sorted(files.items()):
        with file.open("rb") as content:
            one = hashlib.file_digest(content, "sha256").hexdigest()
        digest.update(f"{one}  {name}\n".encode())
    return f"h1:{base64.b64encode(digest.digest()).decode()}"


def check_provider(folder: Path) -> None:
    lock = LOCAL_LOCK if LOCAL_LOCK.exists() else PROVIDER_LOCK
    if (actual := package_hash(folder)) not in lock.read_text():
        raise SetupError(
            f"the AWS provider in {folder} has the hash {actual}, which provider.lock.hcl does not hold: not used. "
            f"Remove it if it is not HashiCorp's. If {PLATFORM} is not pinned yet, run {PIN_COMMAND}"
        )


def trust_download(folder: Path) -> None:
    """Note the hash of a provider that Terraform has just checked against its zh:, if the lock file lacks it.

    `make pin` cannot be run everywhere, and units are checked by h1: only.
    """
    if (actual := package_hash(folder)) not in PROVIDER_LOCK.read_text():
        LOCAL_LOCK.write_text(PROVIDER_LOCK.read_text().replace("hashes = [", f'hashes = [\n    "{actual}",', 1))


def find_mirror() -> Path | None:
    """Return the first folder that holds the pinned AWS provider, unpacked, in Terraform's mirror layout."""
    wanted = provider_place()
    for place in MIRROR_PLACES:
        for folder, children, _ in os.walk(place):
            if "registry.terraform.io" in children and (Path(folder) / wanted).is_dir():
                return Path(folder)
            if len(Path(folder).relative_to(place).parts) >= MIRROR_DEPTH:
                children.clear()
    return None


def install_provider() -> None:
    """Write .tools/terraform.rc, which gives Terraform the provider from a folder: a mirror or our own.

    From an unpacked mirror Terraform links the provider instead of copying 700 MB into every unit; nothing races.

    Raises:
        SetupError: the provider is not one that provider.lock.hcl holds.
    """
    LOCAL_LOCK.unlink(missing_ok=True)
    mirror = find_mirror()
    if mirror is None:
        mirror = TOOLS / "providers"
        mirror.mkdir(exist_ok=True)
        with working("the AWS provider into .tools/providers"), provider_folder() as folder:
            (folder / ".terraform.lock.hcl").write_text(PROVIDER_LOCK.read_text())  # Terraform checks its zh:
            environment = {**without_cli_config(), "TF_PLUGIN_CACHE_DIR": str(mirror)}
            run(BIN / "terraform", f"-chdir={folder}", "init", "-input=false", env=environment)
        trust_download(mirror / provider_place())
    check_provider(mirror / provider_place())
    (TOOLS / "terraform.rc").write_text(
        f"""disable_checkpoint = true

provider_installation {{
  filesystem_mirror {{
    path    = "{mirror}"
    include = ["registry.terraform.io/hashicorp/aws"]
  }}
  direct {{
    exclude = ["registry.terraform.io/hashicorp/aws"]
  }}
}}
"""
    )


# --- pins -------------------------------------------------------------------------------------------------------------


def pin_all() -> None:
    """Write the SHA-256 of releases into tools.json, and the provider's hashes into provider.lock.hcl.

    Raises:
        SetupError: a list is out of reach or names none of the platforms. Nothing is written then.
    """
    for name, pin in {"terraform": PINS["terraform"], **PINS["go-tools"]}.items():
        pin["sha256"] = digests_of(name, pin)
    with provider_folder() as folder:
        platforms = [f"-platform={one}" for one in PLATFORMS]
        run(BIN / "terraform", f"-chdir={folder}", "providers", "lock", *platforms, env=without_cli_config())
        _, _, lock = (folder / ".terraform.lock.hcl").read_text().partition("\n\n")
    head = "".join(line for line in PROVIDER_LOCK.read_text().splitlines(keepends=True) if line.startswith("#"))
    PROVIDER_LOCK.write_text(f"{head}\n{lock}")
    PINS_FILE.write_text(json.dumps(PINS, indent=2) + "\n")
    say("tools.json and provider.lock.hcl are written: compare them with another source before you commit them")


def digests_of(name: str, pin: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of a release's programs by platform, from the release's own list."""
    address = release_file(pin, "checksums")
    content = fetch(address)
    if content is None:
        raise SetupError(f"{address} is out of reach: --pin needs it")
    listed = {
        line.split()[-1].lstrip("*").rpartition("/")[2]: line.split()[0]
        for line in content.decode().splitlines()
        if line
    }
    assets = {one: release_file(pin, "asset", one).rpartition("/")[2] for one in PLATFORMS}
    digests = {one: listed[asset] for one, asset in assets.items() if asset in listed}
    if not digests:
        raise SetupError(f"{address} names no program of {name} for {', '.join(PLATFORMS)}")
    return digests


# --- all together -----------------------------------------------------------------------------------------------------

#: fingerprint of what the thing is made from, whether it is there, how to get it
Step = tuple[Callable[[], str], Callable[[], bool], Callable[[], None]]


def steps() -> dict[str, Step]:
    def go_tool(name: str) -> Step:
        return (
            lambda: fingerprint(json.dumps(PINS["go-tools"][name])),
            (BIN / name).exists,
            partial(install_go_tool, name),
        )

    return {
        "python": (python_fingerprint, python_ready, install_python),
        "terraform": (terraform_fingerprint, (BIN / "terraform").exists, install_terraform),
        "provider": (
            lambda: fingerprint(PINS["terraform-provider-aws"], str(TOOLS), PROVIDER_LOCK.read_text()),
            (TOOLS / "terraform.rc").exists,
            install_provider,
        ),
        **{name: go_tool(name) for name in PINS["go-tools"]},
        "image-programs": (
            lambda: fingerprint(*IMAGE_PROGRAMS),
            lambda: not missing_image_programs() or OS != "linux",
            install_image_programs,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runtime", action="store_true", help="leave out what only linting and the tests need")
    parser.add_argument("--image", action="store_true", help="only what building and pushing the image needs")
    parser.add_argument("--pin", action="store_true", help="write the hashes of the versions in tools.json")
    arguments = parser.parse_args()
    wanted = RUNTIME if arguments.runtime else IMAGE if arguments.image else tuple(steps())

    BIN.mkdir(parents=True, exist_ok=True)
    stamps_file = TOOLS / "stamps.json"
    with (TOOLS / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            stamps = json.loads(stamps_file.read_text())
        except (OSError, ValueError):
            stamps = {}
        for name, (expected, ready, install) in steps().items():
            if name not in wanted:
                continue
            stamp = expected()
            if stamps.get(name) != stamp or not ready():
                install()
                stamps[name] = stamp
                stamps_file.write_text(json.dumps(stamps, indent=2))
        if arguments.pin:
            pin_all()


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        sys.exit(f"setup: {error}")
    except KeyboardInterrupt:
        sys.exit("setup: interrupted; run it again to go on")
