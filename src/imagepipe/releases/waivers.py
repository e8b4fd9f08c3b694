"""Reads files of waivers: lists of exceptions, each with a reason and a last day, which owners review."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from imagepipe.errors import PipelineError
from imagepipe.live.environments import ROOT

Waiver = TypeVar("Waiver", bound=BaseModel)


def read(file: Path, kind: type[Waiver]) -> list[Waiver]:
    """Return the waivers of a file.

    Raises:
        PipelineError: it is malformed.
    """
    name = file.relative_to(ROOT)
    try:
        return TypeAdapter(list[kind]).validate_python(json.loads(file.read_text()))  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise PipelineError(f"{name}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ValueError as error:
        raise PipelineError(f"{name} is not JSON: {error}") from None
