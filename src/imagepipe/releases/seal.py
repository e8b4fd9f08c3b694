"""Plans hold secrets in plain text: they travel encrypted and authenticated, by Fernet of the library cryptography."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from imagepipe.errors import PipelineError
from imagepipe.files import write_atomically
from imagepipe.live.environments import ROOT
from imagepipe.terragrunt.target import Cloud

#: Where the key is; a secret of the repository in CI.
VARIABLE = "PLAN_KEY"

_MAGIC = "image-pipeline plan bundle 1"


def new_key() -> str:
    return Fernet.generate_key().decode()


def key(cloud: Cloud) -> str:
    """The key of the caller's environment. On the local cloud, where there is nothing to hide, one is made and kept.

    Raises:
        PipelineError: on AWS, without a key.
    """
    if found := os.environ.get(VARIABLE):
        return found
    if cloud is Cloud.AWS:
        raise PipelineError(
            f"{VARIABLE} is not set, and plans do not travel unencrypted: imagepipe plan-key prints a new key, to be "
            "kept as a secret of the repository"
        )
    file = ROOT / ".local/plan.key"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as text:
            text.write(new_key())
    return file.read_text()


def write(file: Path, content: bytes, secret: str) -> None:
    """Writes the content sealed, in one step."""
    header = json.dumps({"format": _MAGIC, "key": _mark(secret)})
    write_atomically(file, header.encode() + b"\n" + _fernet(secret).encrypt(content))


def read(file: Path, secret: str) -> bytes:
    """The content again.

    Raises:
        PipelineError: there is no such file, it is no bundle, it was sealed with another key, or it is damaged.
    """
    try:
        first, _, token = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise PipelineError(f"there is no bundle {file}: make plan ENV=… BUNDLE={file} makes one") from None
    except OSError as error:
        raise PipelineError(f"the bundle {file} cannot be read: {error.strerror}") from None
    header = _header(first)
    if header.get("format") != _MAGIC:
        raise PipelineError(f"{file} is no bundle of plans")
    if header.get("key") != _mark(secret):
        raise PipelineError(f"{file} was sealed with another key: {VARIABLE} must be the one that it was planned with")
    try:
        return _fernet(secret).decrypt(token)
    except InvalidToken:
        raise PipelineError(f"{file} is damaged, or was tampered with: plan again") from None


def _header(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _mark(secret: str) -> str:
    """Tells keys apart without telling the key."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def _fernet(secret: str) -> Fernet:
    try:
        return Fernet(secret)
    except ValueError:
        raise PipelineError(f"{VARIABLE} is not a key: imagepipe plan-key prints one") from None
