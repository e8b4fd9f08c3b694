"""Encryption of saved plans, which hold secrets in plain text: Fernet of the library cryptography."""

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

#: Variable with the key. In CI it is a secret of the repository.
VARIABLE = "PLAN_KEY"

_MAGIC = "image-pipeline plan bundle 1"


def new_key() -> str:
    """Return a new random key."""
    return Fernet.generate_key().decode()


def key(cloud: Cloud) -> str:
    """Return the key that PLAN_KEY holds. Without it, the local cloud makes one and keeps it in .local/plan.key.

    Raises:
        PipelineError: there is no key, and the plan is for AWS.
    """
    if key := os.environ.get(VARIABLE):
        return key
    if cloud is Cloud.AWS:
        raise PipelineError(
            f"{VARIABLE} is not set, and plans are not stored unencrypted: imagepipe plan-key prints a new key, to be "
            "kept as a secret of the repository"
        )
    file = ROOT / ".local/plan.key"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as text:
            text.write(new_key())
    return file.read_text()


def write(file: Path, content: bytes, secret: str) -> None:
    """Encrypt content into a file, which appears whole."""
    header = json.dumps({"format": _MAGIC, "key": _mark(secret)})
    write_atomically(file, header.encode() + b"\n" + _fernet(secret).encrypt(content))


def read(file: Path, secret: str) -> bytes:
    """Return the content of a sealed file.

    Raises:
        PipelineError: there is no such file, it is not a bundle, it was sealed with another key, or it is damaged.
    """
    try:
        first, _, token = file.read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise PipelineError(f"there is no bundle {file}: make plan ENV=… BUNDLE={file} makes one") from None
    except OSError as error:
        raise PipelineError(f"the bundle {file} cannot be read: {error.strerror}") from None
    header = _header(first)
    if header.get("format") != _MAGIC:
        raise PipelineError(f"{file} is no bundle of plans: make plan ENV=… BUNDLE={file} makes one")
    if header.get("key") != _mark(secret):
        raise PipelineError(f"{file} was sealed with another key: {VARIABLE} must be the one that it was planned with")
    try:
        return _fernet(secret).decrypt(token)
    except InvalidToken:
        raise PipelineError(f"{file} is damaged, or was tampered with: plan again") from None


def _header(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        return {}
    return header if isinstance(header, dict) else {}


def _mark(secret: str) -> str:
    """Return a mark by which keys differ, and from which no key follows."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


def _fernet(secret: str) -> Fernet:
    try:
        return Fernet(secret)
    except ValueError:
        raise PipelineError(f"{VARIABLE} is not a key: imagepipe plan-key prints one") from None
