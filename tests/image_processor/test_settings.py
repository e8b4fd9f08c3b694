"""Settings of a function: read at its start, and judged before a deployment."""

import json
from typing import Any

import pytest

from image_processor import settings
from image_processor.decoder.sandbox import Sandbox
from image_processor.recipe import ENVIRONMENT_BYTES, Limits, Recipe, SettingError
from imagepipe.images import samples

QUEUE = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-uploads"
VARIABLES = {
    "TABLE_NAME": "images",
    "PROCESSED_BUCKET": "processed",
    "UPLOAD_BUCKET": "uploads",
    "QUEUE_URLS": json.dumps({QUEUE: "https://sqs.eu-west-1.amazonaws.com/333333333333/uploads"}),
    "VISIBILITY_TIMEOUT_SECONDS": "360",
    "MAX_RECEIVE_COUNT": "5",
}


def wrong(memory_mb: int = 1769, timeout: int = 60, **variables: Any) -> list[str]:
    """Return the problems of a processor; settings that are no text are written as JSON."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    return [*settings.problems("processor", VARIABLES | texts, memory_mb, timeout)]


def variants(count: int, **more: Any) -> dict[str, Any]:
    formats = [{"format": name, "quality": 60, "effort": 1} for name in ("avif", "webp", "jpeg")]
    return {"variants": [{"width": 100 + 16 * number, "formats": formats} | more for number in range(count)]}


def test_the_defaults_are_in_order() -> None:
    assert wrong() == []


#: Settings that Terraform once accepted, with the words that refuse them now.
BREAKING: list[tuple[str, dict[str, Any], str]] = [
    ("every image refused", {"memory_mb": 128}, "processor.memory_mb must be at least 636"),
    ("every image refused", {"memory_mb": 499}, "processor.memory_mb must be at least 636"),
    ("every image refused", {"LIMITS": {"max_memory_mb": 64}}, "limits.max_memory_mb must be at least 268"),
    ("killed by a slow image", {"LIMITS": {"max_seconds": 600}}, "timeout_seconds must be at least 1800"),
    ("killed by a large file", {"LIMITS": {"max_bytes": 5 * 1024**3}}, "or lower max_bytes"),
    ("refused by Lambda", {"RECIPE": variants(25)}, "bytes, and Lambda takes 4096: name fewer variants"),
    ("does not start", {"RECIPE": variants(2, width=640)}, "Recipe.variants: w640 is there twice"),
    ("does not start", {"RECIPE": variants(2, name="card")}, "Recipe.variants: card is there twice"),
    (
        "does not start",
        {"RECIPE": {"animation": {"format": "webp", "effort": 9}}},
        "Animation.effort must be a whole number from 0 to 6",
    ),
    (
        "first retry after 20 minutes",
        {"VISIBILITY_TIMEOUT_SECONDS": "43200"},
        "visibility_timeout_seconds must be at most 2160",
    ),
    ("images made twice", {"VISIBILITY_TIMEOUT_SECONDS": "359"}, "visibility_timeout_seconds must be at least 360"),
    ("does not start", {"LOG_LEVEL": "LOUD"}, "LOG_LEVEL must be one of DEBUG"),
    ("does not start", {"QUEUE_URLS": "https://sqs"}, "QUEUE_URLS is not JSON"),
    ("does not start", {"MAX_RECEIVE_COUNT": "five"}, "MAX_RECEIVE_COUNT must be a whole number, not 'five'"),
]


@pytest.mark.parametrize(("effect", "values", "words"), BREAKING, ids=[words for _, _, words in BREAKING])
def test_a_setting_that_breaks_later_is_refused(effect: str, values: dict[str, Any], words: str) -> None:
    """The plan accepted all of these; only the function showed the effect."""
    problems = wrong(**values) or [""]
    assert words in problems[0], effect


@pytest.mark.parametrize("service", settings.READERS)
def test_a_missing_variable_is_named(service: str) -> None:
    (problem,) = settings.problems(service, {}, 1769, 60)
    assert "is not set, or the function does not start" in problem


def test_an_address_that_lives_for_no_number_of_seconds_is_refused() -> None:
    with pytest.raises(SettingError, match="URL_TTL_SECONDS must be a whole number, not '15m'"):
        settings.ApiSettings.of(VARIABLES | {"URL_TTL_SECONDS": "15m"})


def test_the_environment_is_measured_as_lambda_measures_it() -> None:
    """Lambda names the text that it measured in its error: a JSON object of all variables."""
    assert settings.environment_bytes({"A": '"é"'}) == len('{"A":"\\"é\\""}'.encode())
    filled = VARIABLES | {"IMAGE_DIGEST": ""}
    room = ENVIRONMENT_BYTES - settings.environment_bytes(filled)
    fits, bursts = ({**filled, "IMAGE_DIGEST": "x" * (room + more)} for more in (0, 1))
    assert [*settings.problems("processor", fits, 1769, 60)] == []
    assert len([*settings.problems("processor", bursts, 1769, 60)]) == 1


def test_a_function_of_the_least_memory_makes_a_photograph() -> None:
    """Below 500 MB every image was rejected for good, with TOO_MUCH_MEMORY."""
    least = settings.least_memory_mb(Limits())
    with Sandbox(Limits().within(least)) as box:
        photograph = samples.landscape(3000, 2000, 1).jpegsave_buffer(Q=90)
        assert len(box.render(bytes(photograph), Recipe()).rendition.variants) > 4
