"""Each mutant patches the source as it stands, without a cloud: one that no longer fits is known at once."""

import ast

import pytest

from chaos.mutants import MUTANTS, Mutant
from imagepipe.live.environments import ROOT


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_mutant_fits_the_source(mutant: Mutant) -> None:
    sources: dict[str, str] = {}
    for module, before, after in mutant.changes:
        text = sources.get(module) or (ROOT / "lambda-image/src/image_processor" / module).read_text()
        assert text.count(before) == 1, f"{mutant.name}: {module} must hold this text once: {before}"
        sources[module] = text.replace(before, after)
    for text in sources.values():
        ast.parse(text)
