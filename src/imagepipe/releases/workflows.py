"""Steps of workflows beside planning and applying: choosing environments, fetching bundles, comments and issues.

A step that writes to GitHub runs in a job without credentials of AWS, from files that other jobs have left.
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

#: Folders that jobs leave bundles, summaries and drift in, by environment: dev, dev.md.
PLANS, DRIFT = ROOT / "build/plans", ROOT / "build/drift"

#: Folder of the bundles that a merged pull request was reviewed with, by environment.
REVIEWED = ROOT / "build/reviewed"

_MAIN = "main"

#: The workflow that plans pull requests, and the one that applies them.
_PLANNING, _APPLYING = ".github/workflows/plan.yml", "apply.yml"

#: Names of programs that others write, which a workflow installs before it plans.
_INSTALLED = "requirements.txt"

#: Conclusions of runs that were not carried out to their end.
_NO_RESULT = {"action_required", "cancelled", "skipped", "stale", None}


def matrix(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return environments for a job matrix, in the order of applying.

    Raises:
        PipelineError: there is no such environment.
    """
    order, wanted = environments.release_order(), {*names}
    if unknown := sorted(wanted.difference(environments.names())):
        raise PipelineError(f"there is no environment {unknown[0]!r}: choose among {', '.join(environments.names())}")
    return [
        {
            "apply_role": role_arn(environment, Role.APPLY),
            "name": environment.name,
            "plan_role": role_arn(environment, Role.PLAN),
            "region": environment.region,
            "serves": environment.name in order,  # has an API that a smoke test can call
        }
        for environment in environments.load_all()
        if environment.name in wanted
    ]


def names_to_plan(base: str) -> list[str]:
    """Return environments with an affected unit since a ref. A removed unit counts, because its plan is refused.

    Raises:
        PipelineError: what a workflow installs has changed as well. It would run with the credentials of the plan.
    """
    units = [reached.unit for reached in affected.since(base)] + affected.removed(base)
    names = [name for name in environments.names() if any(unit.startswith(f"{name}/") for unit in units)]
    if names and _INSTALLED in repository.changed(repository.merge_base(base)):
        raise PipelineError(
            f"{_INSTALLED} changes together with {', '.join(names)}: what it installs would run with the credentials "
            "of their plans before anybody has reviewed it, so make two pull requests"
        )
    return names


def fetch_bundles(commit: str, names: list[str]) -> str:
    """Fetch the bundles of the pull request that a commit of the main branch was merged by, all or none.

    A bundle comes from a run of the workflow `plan` in this repository for that pull request and the head that was
    merged. Whoever may push a branch can forge one, also the title by which a run is chosen. So a bundle is evidence
    only: what is applied is planned from the main branch, and refused if the two differ.

    Returns:
        Where the bundles come from, for people.

    Raises:
        PipelineError: the commit was not merged by a pull request, or that has no bundle that can be applied.
    """
    pull = _merged(commit)
    head, number = pull["head"]["sha"], pull["number"]
    run = _last_plan(head, number)
    artifacts = github.every(f"actions/runs/{run['id']}/artifacts", "artifacts")
    kept = {artifact["name"]: artifact["id"] for artifact in artifacts if not artifact["expired"]}
    contents = {}
    for name in names:
        artifact = f"plan-{name}"
        if artifact not in kept:
            raise PipelineError(_refusal(f"#{number} at {head[:12]} has no plan of {name}, or none that is kept"))
        contents[name] = _only_member(github.raw(f"actions/artifacts/{kept[artifact]}/zip"), name)
    REVIEWED.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (REVIEWED / name).write_bytes(content)
    return f"bundles of #{number} at {head[:12]}: {', '.join(names)}"


def _merged(commit: str) -> dict[str, Any]:
    for pull in github.every(f"commits/{commit}/pulls"):
        if pull["merged_at"] and pull["merge_commit_sha"] == commit and pull["base"]["ref"] == _MAIN:
            return pull
    raise PipelineError(_refusal(f"{commit[:12]} came to {_MAIN} by no pull request, so its plan was not reviewed"))


def _last_plan(head: str, number: int) -> dict[str, Any]:
    """Return the last run of the workflow `plan` for a pull request and its head, which must have succeeded.

    Several pull requests may have one head. The title of a run says which one it was for: what GitHub lists as the
    pull requests of a run are those that are open now.
    """
    title = f"plan of #{number} onto {_MAIN}"
    runs = [
        run
        for run in github.every(f"actions/runs?event=pull_request&head_sha={head}", "workflow_runs")
        if run["path"].split("@")[0] == _PLANNING
        and run["display_title"] == title
        and (run["head_repository"] or {}).get("full_name") == github.repository()  # null: a fork that is gone
        and run["conclusion"] not in _NO_RESULT
    ]
    if not runs:
        raise PipelineError(_refusal(f"#{number} was merged at {head[:12]}, which has no plan for {_MAIN}"))
    last = max(runs, key=lambda run: int(run["run_number"]))
    if last["conclusion"] != "success":
        raise PipelineError(_refusal(f"#{number} was merged although its plan failed ({last['html_url']})"))
    return last


def _refusal(reason: str) -> str:
    return f"{reason}: nothing is applied. Run the workflow apply by hand: it plans what {_MAIN} holds and applies that"


def _only_member(archive: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        if files.namelist() != [name]:
            raise PipelineError(f"the artifact of {name} holds {', '.join(files.namelist())}, and not its bundle alone")
        return files.read(name)


def go_on(name: str, names: list[str]) -> str:
    """Start the workflow `apply` for an environment that has more to plan, and for those after it.

    Args:
        names: every environment of this run, in the order of applying.
    """
    rest = ",".join(names[names.index(name) :])
    github.call("POST", f"actions/workflows/{_APPLYING}/dispatches", ref=_MAIN, inputs={"environments": rest})
    return f"{name} has more to plan now: the workflow apply was started for {rest}"


def comment(number: int, names: list[str], commit: str, run: str) -> list[str]:
    """Keep one comment per environment on a pull request, each from its file below build/plans.

    An environment whose plan left no file gets a comment that says so, as does one that is no longer affected.

    Args:
        names: environments that were to be planned.
        commit: the pull request's head.
        run: address of the run.

    Returns:
        What was done, a line for each environment.
    """
    known = [comment for comment in github.every(f"issues/{number}/comments") if _by_workflow(comment)]
    lines = []
    for name in environments.names():
        marker = f"<!-- plan:{name} -->"
        old = next((comment for comment in known if comment["body"].startswith(marker)), None)
        file, heading = PLANS / f"{name}.md", f"{marker}\n## Plan of `{name}` at `{commit[:12]}`\n\n"
        if name in names and file.exists():
            # The plan is of the merge commit, which exists in the run only.
            body = f"{file.read_text()}\n`{commit[:12]}` merged into `{_MAIN}`, in [this run]({run}).\n"
        elif name in names:
            body = f"{heading}The plan failed, and [the run]({run}) says why.\n"
        elif old:
            body = f"{heading}No change of this pull request reaches `{name}` any more.\n"
        else:
            continue
        if old is None:
            github.call("POST", f"issues/{number}/comments", body=body)
        elif old["body"] != body:
            github.call("PATCH", f"issues/comments/{old['id']}", body=body)
        lines.append(f"{name}: {'written' if old is None else 'updated' if old['body'] != body else 'as it was'}")
    return lines


def report_drift(names: list[str]) -> list[str]:
    """Keep one issue per environment that has drifted, each from its file below build/drift.

    An empty file means no drift, and closes the issue. Without a file the environment was not compared, and its issue
    stays as it is.

    Returns:
        What was done, a line for each environment.
    """
    issues = github.every("issues?state=open")  # GitHub counts pull requests among them
    known = [issue for issue in issues if _by_workflow(issue) and "pull_request" not in issue]
    lines = []
    for name in names:
        file, marker = DRIFT / f"{name}.md", f"<!-- drift:{name} -->"
        old = next((issue for issue in known if (issue["body"] or "").startswith(marker)), None)
        if not file.exists():
            lines.append(f"{name}: not compared")
        elif not (words := file.read_text().strip()):
            if old:
                over = f"{marker}\n`{name}` matches its files again.\n"
                github.call("PATCH", f"issues/{old['number']}", body=over, state="closed", state_reason="completed")
            lines.append(f"{name}: {'closed' if old else 'no drift'}")
        else:
            ending = f"\n… and more: `make drift ENV={name}` shows all of it.\n"
            body = summary.limited([marker, *words.splitlines()], ending)
            if old is None:
                github.call("POST", "issues", title=f"Drift in {name}", body=body)
            elif old["body"] != body:
                github.call("PATCH", f"issues/{old['number']}", body=body)
            lines.append(f"{name}: {'opened' if old is None else 'updated' if old['body'] != body else 'as it was'}")
    return lines


def _by_workflow(entry: dict[str, Any]) -> bool:
    """Tell whether a workflow wrote a comment or an issue. `user` is null if the account was deleted."""
    return (entry["user"] or {}).get("login") == github.AUTHOR


def propose(folder: Path = proposal.RESULT) -> str:
    """Push the branch that a promotion has left in a folder, and open or update its pull request.

    Returns:
        The pull request's address.

    Raises:
        PipelineError: the folder holds no branch, somebody else has changed the branch, or GitHub refuses.
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
    """Move a branch on the remote, if it is still where this clone fetched it."""
    sign_in = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "!gh auth git-credential",
    }
    try:
        repository.git("push", f"--force-with-lease={ref}:{before}", "origin", f"{ref}:{ref}", **sign_in)
    except PipelineError as error:
        raise PipelineError(
            f"{ref} could not be pushed: somebody else may have changed it, so start this workflow again ({error})"
        ) from None


def for_output(name: str, value: object) -> str:
    """Return a line for $GITHUB_OUTPUT."""
    return f"{name}={json.dumps(value, separators=(',', ':'))}"
