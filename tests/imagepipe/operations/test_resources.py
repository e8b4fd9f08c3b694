"""What an environment is made of, as operations read it."""

from unittest.mock import Mock

import pytest

from image_processor.intake.processor import Processor
from image_processor.recipe import Limits, Recipe
from imagepipe.live import environments
from imagepipe.operations.resources import Resources
from imagepipe.terragrunt.target import Cloud, Target

OUTPUTS = ("queue", "backfill_queue", "dead_letter_queue", "table", "upload_bucket", "processed_bucket")


def test_operations_know_what_the_processor_has_made_again() -> None:
    """Both make the same version of the function's settings; otherwise a backfill would leave nothing out, ever."""
    digest, limits, recipe = "sha256:" + "c" * 64, '{"max_side": 500}', '{"background": "#123456"}'
    variables = {"IMAGE_DIGEST": digest, "LIMITS": limits, "RECIPE": recipe}
    functions = Mock()
    functions.list_event_source_mappings.return_value = {"EventSourceMappings": [{"FunctionArn": "processor:live"}]}
    functions.get_function_configuration.return_value = {"MemorySize": 1024, "Environment": {"Variables": variables}}
    resources = Resources(Mock(client=lambda _: functions), {unit: {"arn": unit} for unit in OUTPUTS})
    sandbox = Mock(limits=Limits.parse(limits).within(1024))
    processor = Processor(Mock(), Recipe.parse(recipe), sandbox, digest, "uploads")
    assert resources.workers.verdict == processor.verdict_version


@pytest.mark.parametrize(
    ("cloud", "command"),
    [
        (Cloud.LOCAL, "make redrive ENV=prod IMAGE=1"),
        (Cloud.AWS, "make redrive ENV=prod CLOUD=aws IMAGE=1"),
    ],
)
def test_next_command_is_for_the_same_environment_in_the_same_cloud(cloud: Cloud, command: str) -> None:
    target = Target(environments.load("prod"), cloud, {})
    assert Resources(target, dict.fromkeys(OUTPUTS)).command("redrive", "IMAGE=1") == command
