from pathlib import Path

import pytest

from imagepipe.errors import PipelineError
from imagepipe.releases import seal
from imagepipe.terragrunt.target import Cloud

KEY = seal.new_key()


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    file = tmp_path / "deep" / "a.bundle"
    seal.write(file, b"a secret", KEY)
    return file


def test_what_is_sealed_can_be_read_with_the_key_only(sealed: Path) -> None:
    assert b"a secret" not in sealed.read_bytes()
    assert seal.read(sealed, KEY) == b"a secret"
    with pytest.raises(PipelineError, match="sealed with another key"):
        seal.read(sealed, seal.new_key())


@pytest.mark.parametrize("place", [-60, -5])
def test_a_flipped_bit_is_noticed(sealed: Path, place: int) -> None:
    content = bytearray(sealed.read_bytes())
    content[place] ^= 1
    sealed.write_bytes(content)
    with pytest.raises(PipelineError, match="damaged"):
        seal.read(sealed, KEY)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]\n", b"\x00\xff\nabc", b"PK\x03\x04"])
def test_what_is_no_bundle_is_said_so(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other"
    file.write_bytes(content)
    with pytest.raises(PipelineError, match="is no bundle of plans"):
        seal.read(file, KEY)


def test_a_missing_bundle_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"make plan ENV=… BUNDLE="):
        seal.read(tmp_path / "none", KEY)


def test_on_aws_there_is_no_bundle_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(seal.VARIABLE, raising=False)
    with pytest.raises(PipelineError, match=r"PLAN_KEY is not set.*imagepipe plan-key"):
        seal.key(Cloud.AWS)
    monkeypatch.setenv(seal.VARIABLE, "short")
    with pytest.raises(PipelineError, match="is not a key"):
        seal.write(Path("unused"), b"", seal.key(Cloud.AWS))
