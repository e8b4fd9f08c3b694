"""The settings of a function: its environment, its memory and its timeout.

A function reads them when it starts. `imagepipe plan` reads the planned ones with the same code: a function that could
not start, or could end no image well, is refused before it is deployed.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from image_processor.recipe import (
    COPIES,
    DECODER_MB,
    ENVIRONMENT_BYTES,
    HANDLER_MB,
    LONGEST_HIDING,
    MOST_MB,
    MOST_SECONDS,
    PATIENCE,
    SHORTEST_HIDING,
    Limits,
    Recipe,
    SettingError,
)

Variables = Mapping[str, str]

#: Levels of LOG_LEVEL.
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True)
class _Stores:
    """Names of the table and the buckets, in the environment of every function that reads or writes them."""

    table: str
    processed_bucket: str
    upload_bucket: str


def _stores(variables: Variables) -> dict[str, str]:
    """Read the fields of `_Stores`."""
    names = {"table": "TABLE_NAME", "processed_bucket": "PROCESSED_BUCKET", "upload_bucket": "UPLOAD_BUCKET"}
    return {field: _text(variables, name) for field, name in names.items()}


@dataclass(frozen=True)
class ProcessorSettings(_Stores):
    """The environment of the processor."""

    image_digest: str
    recipe: Recipe
    limits: Limits  # before `Limits.within`
    queue_urls: dict[str, str]  # by ARN
    visibility_timeout_seconds: int
    most_deliveries: int

    @classmethod
    def of(cls, variables: Variables) -> Self:
        """Read the environment.

        Raises:
            SettingError: a variable is missing or malformed; the message names it.
        """
        return cls(
            **_stores(variables),
            image_digest=variables.get("IMAGE_DIGEST", ""),
            recipe=Recipe.parse(variables.get("RECIPE")),
            limits=Limits.parse(variables.get("LIMITS")),
            queue_urls=_addresses(variables, "QUEUE_URLS"),
            visibility_timeout_seconds=_whole(variables, "VISIBILITY_TIMEOUT_SECONDS"),
            most_deliveries=_whole(variables, "MAX_RECEIVE_COUNT"),
        )


@dataclass(frozen=True)
class ApiSettings(_Stores):
    """The environment of the function that answers the API."""

    url_ttl_seconds: int

    @classmethod
    def of(cls, variables: Variables) -> Self:
        """Read the environment.

        Raises:
            SettingError: a variable is missing or malformed; the message names it.
        """
        return cls(
            **_stores(variables),
            url_ttl_seconds=_whole(variables, "URL_TTL_SECONDS", "900"),
        )


@dataclass(frozen=True)
class AnnouncerSettings:
    """The environment of the announcer."""

    event_bus: str

    @classmethod
    def of(cls, variables: Variables) -> Self:
        """Read the environment.

        Raises:
            SettingError: a variable is missing; the message names it.
        """
        return cls(event_bus=_text(variables, "EVENT_BUS"))


def _text(variables: Variables, name: str) -> str:
    if not (value := variables.get(name, "")):
        raise SettingError(f"{name} is not set")
    return value


def _whole(variables: Variables, name: str, default: str = "") -> int:
    value = variables.get(name, default)
    if not (value.isascii() and value.isdigit()):
        raise SettingError(f"{name} must be a whole number, not {value!r}")
    return int(value)


def _addresses(variables: Variables, name: str) -> dict[str, str]:
    try:
        urls = json.loads(_text(variables, name))
    except ValueError as error:
        raise SettingError(f"{name} is not JSON: {error}") from None
    if not isinstance(urls, dict) or not all(isinstance(url, str) for url in urls.values()):
        raise SettingError(f"{name} must map ARNs of queues to addresses, not {urls!r:.80}")
    return urls


#: What a function reads at its start, by SERVICE_NAME.
READERS: dict[str, Callable[[Variables], Any]] = {
    "announcer": AnnouncerSettings.of,
    "api": ApiSettings.of,
    "processor": ProcessorSettings.of,
}


def problems(service: str, variables: Variables, memory_mb: int, timeout_seconds: int) -> Iterator[str]:
    """Yield a sentence for everything that would break once the function runs; each names its remedy.

    Args:
        service: announcer, api or processor.
    """
    if (size := environment_bytes(variables)) > ENVIRONMENT_BYTES:
        yield (
            f"the environment takes {size} bytes, and Lambda takes {ENVIRONMENT_BYTES}: name fewer variants or formats "
            "in processor.recipe, or leave out what is the default anyway"
        )
    if (level := variables.get("LOG_LEVEL", "INFO")) not in _LEVELS:
        yield f"LOG_LEVEL must be one of {', '.join(_LEVELS)}, not {level!r}: correct log_level"
    try:
        settings = READERS[service](variables)
    except SettingError as error:
        yield f"{error}, or the function does not start"
        return
    if isinstance(settings, ProcessorSettings):
        yield from _memory(settings.limits, memory_mb)
        yield from _time(settings, timeout_seconds)


def environment_bytes(variables: Variables) -> int:
    """Return the size of an environment as Lambda measures it: of all variables together, as JSON.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
    """
    return len(json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False).encode())


def least_memory_mb(limits: Limits) -> int:
    """Return the memory in MB without which every image would be refused as TOO_MUCH_MEMORY."""
    return HANDLER_MB + DECODER_MB + COPIES * limits.file_mb


def _memory(limits: Limits, memory_mb: int) -> Iterator[str]:
    if memory_mb < (least := least_memory_mb(limits)):
        yield (
            f"processor.memory_mb must be at least {least} for files of limits.max_bytes = {limits.max_bytes}, not "
            f"{memory_mb}: raise it, to {MOST_MB} at most, or lower max_bytes"
        )
    if limits.max_memory_mb < (least := DECODER_MB + limits.file_mb):
        yield (
            f"processor.limits.max_memory_mb must be at least {least}, or every image would be refused, not "
            f"{limits.max_memory_mb}"
        )


def _time(settings: ProcessorSettings, timeout_seconds: int) -> Iterator[str]:
    seconds, hidden = settings.limits.max_seconds, settings.visibility_timeout_seconds
    shortest, longest = SHORTEST_HIDING * timeout_seconds, LONGEST_HIDING * timeout_seconds
    if timeout_seconds < PATIENCE * seconds:
        yield (
            f"processor.timeout_seconds must be at least {PATIENCE * seconds}, {PATIENCE} times limits.max_seconds = "
            f"{seconds}, not {timeout_seconds}: raise it, to {MOST_SECONDS} at most, or lower max_seconds"
        )
    if hidden < shortest:
        yield (
            f"queue.visibility_timeout_seconds must be at least {shortest}, {SHORTEST_HIDING} times "
            f"processor.timeout_seconds, not {hidden}, or images are made twice"
        )
    if hidden > longest:
        yield (
            f"queue.visibility_timeout_seconds must be at most {longest}, {LONGEST_HIDING} times "
            f"processor.timeout_seconds, not {hidden}, or a first retry waits longer than the function may run"
        )
