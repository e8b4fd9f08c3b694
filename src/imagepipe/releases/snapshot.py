"""A deployed environment at one moment, read once and handed on: nobody asks AWS twice and gets two answers."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imagepipe.live.environments import Environment
from imagepipe.releases import aliases, record
from imagepipe.releases.aliases import Alias, Canary
from imagepipe.releases.record import DeploymentRecord
from imagepipe.terragrunt import state
from imagepipe.terragrunt.state import State
from imagepipe.terragrunt.target import Target


@dataclass(frozen=True)
class Snapshot:
    """The states, the deployment record and the aliases of an environment at one moment."""

    target: Target
    #: By unit; a unit that was never applied has none.
    states: dict[str, State]
    #: The last deployment; None if there was none.
    record: DeploymentRecord | None
    aliases: tuple[Alias, ...]
    taken_at: datetime

    @property
    def environment(self) -> Environment:
        """The environment that this is a snapshot of."""
        return self.target.environment

    @property
    def deployed_units(self) -> set[str]:
        """Units with outputs that others can read."""
        return {unit for unit, state in self.states.items() if state["outputs"]}

    @property
    def functions(self) -> dict[str, dict[str, Any]]:
        """The functions by what they do, with their names, as the unit compute puts them out."""
        return _functions(self.states)

    @property
    def running_digests(self) -> dict[str, str]:
        """Digest of the image behind each alias, by function."""
        return {alias.function: alias.digest for alias in self.aliases}

    @property
    def canary(self) -> Canary | None:
        """The rollout that is under way, or None."""
        return aliases.canary_in(self.aliases)

    def serial(self, unit: str) -> int:
        """Return the serial number of a unit's state."""
        return int(self.states[unit]["serial"])

    def refresh(self) -> "Snapshot":
        """Read the environment again, after something was changed."""
        return take(self.target)


def take(target: Target) -> Snapshot:
    """Read an environment. One that was never deployed gives an empty snapshot.

    Raises:
        PipelineError: its states or its record cannot be read.
    """
    states = state.states(target)
    return Snapshot(target, states, record.read(target), aliases.read(target, _functions(states)), datetime.now(UTC))


def _functions(states: dict[str, State]) -> dict[str, dict[str, Any]]:
    compute = states.get(aliases.UNIT)
    return dict(state.outputs_in(compute).get("functions", {})) if compute else {}
