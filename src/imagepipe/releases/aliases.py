"""The alias of each function: which version callers get, and versions that no apply has published yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError
from pydantic import BaseModel

from imagepipe.console import say
from imagepipe.terragrunt.target import Target

#: The unit that has the functions, and how the addresses of functions and aliases begin in it.
UNIT, FUNCTION_ADDRESS, ALIAS_ADDRESS = "compute", "aws_lambda_function.function[", "aws_lambda_alias.live["

#: The settings that make a version, as far as the module compute sets them.
_MADE_OF = (
    *("Architectures", "CodeSha256", "Environment", "EphemeralStorage", "ImageConfigResponse", "Layers"),
    *("LoggingConfig", "MemorySize", "Role", "Timeout", "TracingConfig"),
)


class Canary(BaseModel):
    """The first step of a rollout: new versions get a share of the calls."""

    #: Share of the calls that the newest version gets.
    percent: int
    #: Version that gets the other calls, by function.
    held: dict[str, str]

    @property
    def functions(self) -> str:
        """The functions with a new version, for people."""
        return ", ".join(sorted(self.held))


@dataclass(frozen=True)
class Alias:
    """An alias of a function, which its callers use."""

    #: As the unit compute names it, like processor.
    function: str
    #: As AWS names the function.
    name: str
    #: As AWS names the alias.
    alias: str
    #: The version that gets the calls, or most of them.
    version: str
    #: Digest of the image of that version.
    digest: str
    #: Share of the calls by version, from 0 to 1, where a rollout is under way.
    weights: dict[str, float]


def read(target: Target, functions: Mapping[str, Mapping[str, Any]]) -> tuple[Alias, ...]:
    """Return the aliases that exist.

    Args:
        functions: the output `functions` of the unit compute.
    """
    client = target.client("lambda")
    aliases = []
    for function, names in sorted(functions.items()):
        name, alias = str(names["name"]), str(names["alias"])
        try:
            answer = client.get_alias(FunctionName=name, Name=alias)
            image = str(client.get_function(FunctionName=name, Qualifier=alias)["Code"]["ImageUri"])
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                continue
            raise
        weights = answer.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
        aliases.append(Alias(function, name, alias, answer["FunctionVersion"], image.partition("@")[2], weights))
    return tuple(aliases)


def canary_in(aliases: tuple[Alias, ...]) -> Canary | None:
    """Return the rollout that is under way, or None where every alias leads to one version."""
    weighted = [alias for alias in aliases if alias.weights]
    if not weighted:
        return None
    share = max(weight for alias in weighted for weight in alias.weights.values())
    return Canary(percent=round(100 * share), held={alias.function: alias.version for alias in weighted})


def unpublished(target: Target, aliases: tuple[Alias, ...], plan: dict[str, Any]) -> list[str]:
    """Return functions that a plan leaves unchanged although their newest version differs from them.

    An apply that dies after it has changed a function publishes no version, and Terraform sees no change to make then.
    """
    changed = {
        str(resource["index"])
        for resource in plan.get("resource_changes", [])
        if resource["address"].startswith(FUNCTION_ADDRESS) and resource["change"]["actions"] != ["no-op"]
    }
    client = target.client("lambda")

    def settings(name: str, version: str) -> tuple[Any, ...]:
        answer = client.get_function(FunctionName=name, Qualifier=version)
        return answer["Code"].get("ImageUri"), *(answer["Configuration"].get(part) for part in _MADE_OF)

    def newest(name: str) -> str:
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=name)
        versions = [version["Version"] for page in pages for version in page["Versions"]]
        return str(max((version for version in versions if version != "$LATEST"), key=int))

    return [
        alias.function
        for alias in aliases
        if alias.function not in changed and settings(alias.name, "$LATEST") != settings(alias.name, newest(alias.name))
    ]


def publish(target: Target, aliases: tuple[Alias, ...], plan: dict[str, Any]) -> bool:
    """Publish a version of every function that is `unpublished`.

    Returns:
        Whether there was one: the aliases must then be planned again.
    """
    functions = unpublished(target, aliases, plan)
    names = {alias.function: alias.name for alias in aliases}
    for function in functions:
        say(f"{function} was changed by an apply that died before it published a version: published now")
        target.client("lambda").publish_version(FunctionName=names[function])
    return bool(functions)
