"""Refuses planned functions that could not start, or that would end every image badly.

The planned environment of each function is read by the code that reads it when the function starts
(image_processor/settings.py), so that no setting passes here and breaks there.
"""

from collections.abc import Iterator
from typing import Any

from image_processor import settings
from imagepipe.errors import PipelineError

#: A unit's plan, as `terraform show -json` writes it.
Plan = dict[str, Any]


def refuse_broken(name: str, plans: dict[str, Plan]) -> None:
    """Refuse plans of an environment with a function whose settings break it.

    Args:
        name: of the environment.
        plans: by unit.

    Raises:
        PipelineError: with every problem, a line each.
    """
    wrong = [problem for plan in plans.values() for problem in problems(plan)]
    if wrong:
        raise PipelineError(f"live/{name}/env.hcl sets what would break later: correct it\n" + "\n".join(wrong))


def problems(plan: Plan) -> Iterator[str]:
    """Yield a sentence for everything that is wrong with the functions that a plan leaves behind."""
    for change in plan.get("resource_changes", []):
        after = change["change"].get("after")
        if change["type"] != "aws_lambda_function" or not after:
            continue
        variables = _variables(after)
        if _variables(change["change"].get("after_unknown") or {}):
            yield f"{change['address']}: its environment is known after an apply only: make it of inputs alone"
        elif (service := variables.get("SERVICE_NAME", "")) in settings.READERS:
            for problem in settings.problems(service, variables, after["memory_size"], after["timeout"]):
                yield f"{service}: {problem}"


def _variables(function: dict[str, Any]) -> Any:
    blocks = function.get("environment") or [{}]
    return blocks[0].get("variables") or {} if isinstance(blocks, list) else blocks
