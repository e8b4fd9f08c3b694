"""What the options of the operators' commands mean."""

from typing import Any

import pytest
from typer.testing import CliRunner

from imagepipe.cli import operate
from imagepipe.errors import PipelineError


@pytest.mark.parametrize(
    ("status", "conditions", "statuses"),
    [
        ("", {}, ("READY",)),
        ("", {"reason": "TRUNCATED"}, ("REJECTED",)),
        ("", {"image_ids": ("i",)}, ("READY", "REJECTED", "FAILED")),
        ("READY", {"image_ids": ("i",)}, ("READY",)),
    ],
)
def test_default_status_depends_on_the_other_options(
    status: str, conditions: dict[str, Any], statuses: tuple[str, ...]
) -> None:
    assert operate._selection(status, **{"reason": None, "image_ids": (), **conditions}).statuses == statuses


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf", "0"])
@pytest.mark.parametrize("command", [["redrive"], ["reprocess", "--all"], ["reconcile"]])
def test_rate_that_is_no_number_is_refused_before_anything_is_read(command: list[str], rate: str) -> None:
    result = CliRunner().invoke(operate.app, [*command, "--rate", rate])
    assert result.exit_code == 2
    assert "--rate" in result.output


def test_status_that_cannot_be_reprocessed_is_an_error() -> None:
    with pytest.raises(PipelineError, match="READY, REJECTED, FAILED, not ready"):
        operate._selection("ready", reason=None, image_ids=())
