"""Plans, applies and destroys the units of one environment by Terragrunt."""

import json
import shutil
import tempfile
from pathlib import Path

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.terragrunt import runner, state
from imagepipe.terragrunt.planned_functions import Plan, refuse_broken
from imagepipe.terragrunt.required_image import require_image
from imagepipe.terragrunt.runner import Listener
from imagepipe.terragrunt.target import Target

#: The unit with the functions.
FUNCTIONS_UNIT = "compute"


def bootstrap(target: Target, listener: Listener) -> None:
    """Make the state bucket and the lock table of the environment's account and region, where they are missing."""
    if not state.has_state_bucket(target):
        unit = state.independent_unit(target.environment.directory)
        runner.run(target, "bootstrap", ["backend", "bootstrap", "--working-dir", str(unit)], listener)


def plan(
    target: Target, listener: Listener, units: list[str] | None = None, folder: Path | None = None
) -> dict[str, Plan]:
    """Plan units and return the plans by unit, as `terraform show -json` writes them.

    A unit whose dependencies are not deployed yet is planned with mock outputs.

    Args:
        units: without, every unit of the environment.
        folder: where to save each plan as <unit>.tfplan, for `apply_plan`.

    Raises:
        PipelineError: the environment has no state bucket yet, its image is missing, a setting would break a function
            once it runs, or Terragrunt failed.
    """
    plans = _plans(target, listener, units, folder)
    refuse_broken(target.environment, plans)
    return plans


def _plans(
    target: Target, listener: Listener, units: list[str] | None = None, folder: Path | None = None
) -> dict[str, Plan]:
    chosen = target.environment.units if units is None else units
    if not chosen:
        return {}
    if not state.has_state_bucket(target):
        name = target.environment.name
        raise PipelineError(f"{name} has no state bucket yet: make bootstrap ENV={name}")
    require_image(target)
    with tempfile.TemporaryDirectory(prefix="plans-") as scratch:
        raw, readable = Path(scratch) / "raw", Path(scratch) / "json"
        options = ["--json-out-dir", str(readable), *(["--out-dir", str(raw)] if folder else [])]
        if units is not None:
            options += [option for unit in units for option in ("--filter", f"./{unit}")]
        # A dependency decides what may be applied first only: its outputs are read from state, so plans need not wait.
        # Nor do they lock: a role that only reads may not write a lock, and Terraform refuses saved plans of old state.
        runner.run_all(target, "plan", ["--queue-ignore-dag-order", *options], listener, "-lock=false")
        if folder:
            for unit in chosen:
                shutil.copy(raw / unit / "tfplan.tfplan", folder / f"{unit}.tfplan")
        return {unit: json.loads((readable / unit / "tfplan.json").read_text()) for unit in chosen}


def plan_deployed(target: Target, listener: Listener) -> dict[str, Plan]:
    """Plan every unit of a deployed environment, so that no plan holds mock outputs.

    Raises:
        PipelineError: the environment is not deployed, or Terragrunt failed.
    """
    state.outputs(target)
    return _plans(target, listener)


def apply_plan(target: Target, unit: str, plan: Path, listener: Listener) -> None:
    """Apply one unit's saved plan. Terraform refuses it if the state has changed since.

    Raises:
        PipelineError: Terragrunt failed.
    """
    directory = str(target.environment.directory / unit)
    arguments = ["run", *runner.FAST_OUTPUTS, "--working-dir", directory, "--", "apply", "-input=false", str(plan)]
    runner.run(target, f"apply-{unit}", arguments, listener)


def apply(target: Target, listener: Listener) -> None:
    """Apply every unit as the files are, dependencies first, with a state bucket if there was none.

    Raises:
        PipelineError: the release's image is missing, or Terragrunt failed.
    """
    prepare_apply(target, listener)
    runner.run_all(target, "apply", [], listener)


def apply_access(target: Target, listener: Listener) -> None:
    """Apply the unit with the permissions of workflows again: the API, which they name by its id, exists now.

    Raises:
        PipelineError: Terragrunt failed.
    """
    runner.run_all(target, "apply", ["--filter", f"./{environments.ACCESS_UNIT}"], listener)


def prepare_apply(target: Target, listener: Listener) -> None:
    """Check the image and the settings of functions, and make the state bucket where it is missing.

    Raises:
        PipelineError: the release's image is missing, a setting would break a function once it runs, or Terragrunt
            failed.
    """
    require_image(target)
    bootstrap(target, listener)
    # Silently: the apply shows what it does, and a failure says why.
    plan(target, lambda _: None, [unit for unit in target.environment.units if unit == FUNCTIONS_UNIT])


def destroy(target: Target, listener: Listener) -> None:
    """Destroy every unit that holds something, dependents first; the state bucket stays.

    CI roles skip ci-access, which grants them access; an administrator destroys it.

    Raises:
        PipelineError: the environment is protected, in which case nothing was destroyed, or Terragrunt failed.
    """
    name = target.environment.name
    if not state.has_state_bucket(target):
        return
    if target.environment.protected:
        raise PipelineError(
            f"{name} is protected: set deletion_protection = false and force_destroy = true "
            f"in live/{name}/env.hcl, make apply ENV={name}, then destroy it"
        )
    held = {unit for unit, known in state.states(target).items() if known["resources"]}
    if not target.administers:
        held.discard(environments.ACCESS_UNIT)
    if held:
        options = [option for unit in sorted(held) for option in ("--filter", f"./{unit}")]
        runner.run_all(target, "destroy", options, listener)
