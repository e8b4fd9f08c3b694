"""The command that looks whether everything around an environment is as it must be."""

import json

import typer

from imagepipe.cli.deliver import ATTENTION, DEPLOYMENTS
from imagepipe.cli.options import CloudOption, EnvironmentOption, JsonOption, names_of
from imagepipe.console import console, say
from imagepipe.live import environments
from imagepipe.operations import doctor as examination
from imagepipe.operations.doctor import Answer, Verdict
from imagepipe.terragrunt import target as cloud_target
from imagepipe.terragrunt.target import Cloud, Target

app = typer.Typer()


@app.command(rich_help_panel=DEPLOYMENTS)
def doctor(env: EnvironmentOption = "dev", cloud: CloudOption = Cloud.LOCAL, as_json: JsonOption = False) -> None:
    """Check credentials, quotas, state, registry, image, workflows, alarm receivers and budget. Changes nothing.

    Exit code: 0 nothing must be fixed, 1 an error, 3 something must be fixed.
    """
    answers = {name: examination.examine(_target(name, cloud)) for name in names_of(env)}
    if as_json:
        print(json.dumps({name: examination.as_json(those) for name, those in answers.items()}, indent=2))
    for name, those in answers.items():
        if not as_json:
            console.print(examination.table(those, name))
        say(f"{name}: {_counted(those)}")
    wrong = any(answer.verdict is Verdict.FIX for those in answers.values() for answer in those)
    raise typer.Exit(ATTENTION if wrong else 0)


def _target(name: str, cloud: Cloud) -> Target:
    """Return a target whose credentials are one of the things to check."""
    environment = environments.load(name)
    if cloud is Cloud.AWS:
        return cloud_target.unchecked_on_aws(environment)
    return cloud_target.target(environment, cloud)


def _counted(answers: list[Answer]) -> str:
    words = {
        Verdict.FIX: "must be fixed",
        Verdict.LOOK: "to look at",
        Verdict.UNKNOWN: "could not be asked",
        Verdict.OK: "in order",
    }
    counts = {verdict: sum(answer.verdict is verdict for answer in answers) for verdict in words}
    return ", ".join(f"{count} {words[verdict]}" for verdict, count in counts.items() if count)
