"""Modules that are loaded when a function starts: seen from outside, as contracts on imports do not see all of them."""

import subprocess
import sys

import pytest


def modules(handler: str) -> set[str]:
    """Return the modules that a new process holds after importing a handler's module."""
    code = f"import sys, image_processor.handlers.{handler}; print(*sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(finished.stdout.split())


@pytest.mark.parametrize("handler", ["http", "stream"])
def test_functions_that_see_no_image_load_nothing_of_the_decoder(handler: str) -> None:
    loaded = modules(handler)
    assert f"image_processor.handlers.{handler}" in loaded
    assert {name for name in loaded if name.startswith("image_processor.decoder")} == set()
    assert loaded & {"pyvips", "pi_heif"} == set()


def test_the_function_that_holds_credentials_loads_no_decoder_library() -> None:
    loaded = modules("queue")
    assert "image_processor.decoder.sandbox" in loaded
    assert loaded & {"pyvips", "pi_heif", "image_processor.decoder.worker"} == set()
