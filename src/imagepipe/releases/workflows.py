"""What workflows do beside planning and applying: which environments, which bundle, what to tell whom.

Whatever of it touches GitHub runs in jobs without credentials of AWS, from files that other jobs have left.
"""

import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import ROOT
from imagepipe.live.roles import Role, role_arn
from imagepipe.releases import affected, github, proposal, repository, summary

#: Where jobs leave bundles and summaries, and what the drift is, an environment each: dev, dev.md.
PLANS, DRIFT = ROOT / "build/plans", ROOT / "build/drift"

_MAIN = "main"

#: What plans pull requests, and what applies them.
_PLANNING, _APPLYING = ".github/workflows/plan.yml", "apply.yml"

#: Runs that never got to an end of their own.
_NO_RESULT = {"action_required", "cancelled", "skipped", "stale", None}


def chosen(names: Iterable[str]) -> list[dict[str, Any]]:
    """Environments as a job matrix takes them, in the order in which they are applied.

    Raises:
        PipelineError: there is no such environment.
    """
    road, wanted = environments.road(), {*names}
    if unknown := sorted(wanted.difference(environments.names())):
        raise PipelineError(f"there is no environment {unknown[0]!r}: they are {', '.join(environments.names())}")
    return [
        {
            "apply_role": role_arn(each, Role.APPLY),
            "name": each.name,
            "plan_role": role_arn(each, Role.PLAN),
            "region": each.region,
            "serves": each.name in road,  # has an API that a smoke test can ask
        }
        for each in environments.load_all()
        if each.name in wanted
    ]


def reached(base: str) -> list[str]:
    """Environments that have something to plan beside what a ref holds; a unit that is gone counts, to be refused."""
    units = [each.unit for each in affected.since(base)] + affected.removed(base)
    return [name for name in environments.names() if any(unit.startswith(f"{name}/") for unit in units)]


def fetch_bundles(commit: str, names: list[str]) -> str:
    """Fetches the bundles that a commit of the main branch was merged with, all or none, and says whose they are.

    A bundle is taken from a run of the workflow `plan` for the very head that was merged, in this repository: what made
    it is what was reviewed. That it fits the commit, the versions and the state is for apply to check.

    Raises:
        PipelineError: the commit was not merged by a pull request, or that has no bundle that can be applied.
    """
    pull = _merged(commit)
    head, number = pull["head"]["sha"], pull["number"]
    run = _last_plan(head, number)
    artifacts = github.every(f"actions/runs/{run['id']}/artifacts", "artifacts")
    kept = {each["name"]: each["id"] for each in artifacts if not each["expired"]}
    found = {}
    for name in names:
        artifact = f"plan-{name}"
        if artifact not in kept:
            raise PipelineError(_refusal(f"#{number} at {head[:12]} has no plan of {name}, or none that is kept"))
        found[name] = _only_member(github.raw(f"actions/artifacts/{kept[artifact]}/zip"), name)
    PLANS.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        (PLANS / name).write_bytes(content)
    return f"bundles of #{number} at {head[:12]}: {', '.join(names)}"


def _merged(commit: str) -> dict[str, Any]:
    for pull in github.every(f"commits/{commit}/pulls"):
        if pull["merged_at"] and pull["merge_commit_sha"] == commit and pull["base"]["ref"] == _MAIN:
            return pull
    raise PipelineError(_refusal(f"{commit[:12]} came to {_MAIN} by no pull request, so nobody has read its plan"))


def _last_plan(head: str, number: int) -> dict[str, Any]:
    """The last run of the workflow `plan` for a head, which must have succeeded."""
    runs = [
        run
        for run in github.every(f"actions/runs?event=pull_request&head_sha={head}", "workflow_runs")
        if run["path"].split("@")[0] == _PLANNING
        and (run["head_repository"] or {}).get("full_name") == github.repository()  # null: a fork that is gone
        and run["conclusion"] not in _NO_RESULT
    ]
    if not runs:
        raise PipelineError(_refusal(f"#{number} was merged at {head[:12]}, which nobody has planned"))
    last = max(runs, key=lambda run: int(run["run_number"]))
    if last["conclusion"] != "success":
        raise PipelineError(_refusal(f"#{number} was merged although its plan failed ({last['html_url']})"))
    return last


def _refusal(reason: str) -> str:
    return f"{reason}: nothing is applied. The workflow apply, run by hand, plans what {_MAIN} holds and applies that"


def _only_member(archive: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        if files.namelist() != [name]:
            raise PipelineError(f"the artifact of {name} holds {', '.join(files.namelist())}, and not its bundle alone")
        return files.read(name)


def go_on(name: str, names: list[str]) -> str:
    """Starts the workflow `apply` for an environment that has more to plan, and for those that come after it."""
    rest = ",".join(names[names.index(name) :])
    github.call("POST", f"actions/workflows/{_APPLYING}/dispatches", ref=_MAIN, inputs={"environments": rest})
    return f"{name} has more to plan now: the workflow apply was started for {rest}"


def comment(number: int, names: list[str], commit: str, run: str) -> list[str]:
    """Keeps one comment per environment on a pull request, each from its file below build/plans.

    An environment whose plan left no file gets word of that. One that is reached no more has its comment say so.

    Args:
        names: what was to be planned.
        commit: the pull request's head.
        run: address of the run, for whoever wants to know more.
    """
    known = [each for each in github.every(f"issues/{number}/comments") if _is_ours(each)]
    told = []
    for name in environments.names():
        marker = f"<!-- plan:{name} -->"
        old = next((each for each in known if each["body"].startswith(marker)), None)
        file, heading = PLANS / f"{name}.md", f"{marker}\n## Plan of `{name}` at `{commit[:12]}`\n\n"
        if name in names and file.exists():
            # The plan is of the merge, a commit that nobody has but the run.
            body = f"{file.read_text()}\n`{commit[:12]}` merged into `{_MAIN}`, in [this run]({run}).\n"
        elif name in names:
            body = f"{heading}There is none: it failed, and [the run]({run}) says why.\n"
        elif old:
            body = f"{heading}Nothing reaches `{name}` any more.\n"
        else:
            continue
        if old is None:
            github.call("POST", f"issues/{number}/comments", body=body)
        elif old["body"] != body:
            github.call("PATCH", f"issues/comments/{old['id']}", body=body)
        told.append(f"{name}: {'written' if old is None else 'updated' if old['body'] != body else 'as it was'}")
    return told


def report_drift(names: list[str]) -> list[str]:
    """Keeps one issue per environment that has drifted, each from its file below build/drift.

    The file is empty where nothing has drifted. Where there is none, nothing is known, and nothing is changed.
    """
    # Pull requests are issues too, to GitHub.
    known = [each for each in github.every("issues?state=open") if _is_ours(each) and "pull_request" not in each]
    told = []
    for name in names:
        file, marker = DRIFT / f"{name}.md", f"<!-- drift:{name} -->"
        old = next((each for each in known if (each["body"] or "").startswith(marker)), None)
        if not file.exists():
            told.append(f"{name}: not compared")
        elif not (words := file.read_text().strip()):
            if old:
                over = f"{marker}\n`{name}` is what its files say again.\n"
                github.call("PATCH", f"issues/{old['number']}", body=over, state="closed", state_reason="completed")
            told.append(f"{name}: {'closed' if old else 'no drift'}")
        else:
            ending = f"\n… and more: `make drift ENV={name}` shows all of it.\n"
            body = summary.limited([marker, *words.splitlines()], ending)
            if old is None:
                github.call("POST", "issues", title=f"Drift in {name}", body=body)
            elif old["body"] != body:
                github.call("PATCH", f"issues/{old['number']}", body=body)
            told.append(f"{name}: {'opened' if old is None else 'updated' if old['body'] != body else 'as it was'}")
    return told


def _is_ours(each: dict[str, Any]) -> bool:
    """Whether a workflow wrote a comment or an issue. Somebody who has left GitHub has no account there."""
    return (each["user"] or {}).get("login") == github.AUTHOR


def propose(folder: Path = proposal.RESULT) -> str:
    """Pushes the branch that a promotion has left in a folder, and keeps its pull request. Returns the address.

    Raises:
        PipelineError: there is none, somebody else has changed the branch meanwhile, or GitHub refuses.
    """
    try:
        title, body, branch = ((folder / name).read_text() for name in ("title.txt", "body.md", "branch.txt"))
    except FileNotFoundError as error:
        raise PipelineError(f"{error.filename} is missing: make promote writes it") from None
    title, branch = title.strip(), branch.strip()
    ref = f"refs/heads/{branch}"
    before = repository.git("for-each-ref", "--format=%(objectname)", f"refs/remotes/origin/{branch}")
    repository.git("fetch", "--no-tags", str(folder / proposal.COMMIT), f"+{ref}:{ref}")
    _push(ref, before)
    owner = github.repository().split("/")[0]
    pulls = github.every(f"pulls?state=open&head={owner}:{branch}&base={_MAIN}")
    if pulls:
        made = github.call("PATCH", f"pulls/{pulls[0]['number']}", title=title, body=body)
    else:
        made = github.call("POST", "pulls", title=title, body=body, head=branch, base=_MAIN)
    return str(made["html_url"])


def _push(ref: str, before: str) -> None:
    """Moves a branch on the remote, but only from where this clone has seen it."""
    sign_in = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "!gh auth git-credential",
    }
    try:
        repository.git("push", f"--force-with-lease={ref}:{before}", "origin", f"{ref}:{ref}", **sign_in)
    except PipelineError as error:
        raise PipelineError(
            f"{ref} could not be pushed; has somebody else changed it? Start this again ({error})"
        ) from None


def for_output(name: str, value: object) -> str:
    """A line for $GITHUB_OUTPUT."""
    return f"{name}={json.dumps(value, separators=(',', ':'))}"
