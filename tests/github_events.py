"""What GitHub starts for a pull request, and what it gives to each job: by the workflow file, as documented.

https://docs.github.com/actions/reference/workflows-and-actions/events-that-trigger-workflows#pull_request
https://docs.github.com/actions/reference/security/oidc
https://docs.github.com/code-security/dependabot/working-with-dependabot/automating-dependabot-with-github-actions
"""

import re
from dataclasses import dataclass
from typing import Any

REPOSITORY = "acme/pictures"
DEPENDABOT = "dependabot[bot]"


@dataclass(frozen=True)
class Pull:
    """A pull request: `pull_request` runs the workflow file of its merge with the base, whatever branch that is."""

    number: int
    head: str = "a" * 40
    base: str = "main"
    #: Where its branch is; another one is a fork.
    repository: str = REPOSITORY
    author: str = "somebody"

    @property
    def ref(self) -> str:
        """What its jobs run for, which an environment's branch rules are compared with."""
        return f"refs/pull/{self.number}/merge"


@dataclass(frozen=True)
class Job:
    """A job that is started, with what it could give away."""

    #: Of its identity token; None where it can get none.
    subject: str | None
    #: Whether it gets secrets of the repository's Actions.
    secrets: bool
    #: What it may write on GitHub.
    writes: frozenset[str]


def started(workflow: dict[Any, Any], pull: Pull, outputs: dict[str, dict[str, str]], action: str) -> dict[str, Job]:
    """The jobs that start for an event, by name, if all before them succeed and put this out."""
    trigger = workflow[True].get("pull_request", False)  # YAML takes `on` for True
    if trigger is False or not _triggers(trigger or {}, pull, action):
        return {}
    jobs: dict[str, Job] = {}
    for name, job in workflow["jobs"].items():
        needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        context = {
            "github": _github(pull, action),
            "needs": {need: {"outputs": outputs.get(need, {})} for need in needs},
        }
        condition = job.get("if", "success()")
        if ("always()" in condition or all(need in jobs for need in needs)) and holds(condition, context):
            jobs[name] = _granted(job, pull)
    return jobs


def title(workflow: dict[Any, Any], pull: Pull) -> str:
    """What a run is called."""
    name = workflow.get("run-name", workflow["name"])
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda match: str(_value(match[1], {"github": _github(pull, "")})), name)


def holds(condition: str, context: dict[str, Any]) -> bool:
    """Evaluate the few operators that conditions of these workflows use."""
    words = re.findall(r"'[^']*'|[\w.-]+\(\)|[\w.-]+|==|!=|&&|\|\||!|\(|\)", condition)
    python = {"&&": "and", "||": "or", "!": "not", "success()": "True", "always()": "True", "failure()": "False"}
    python |= {sign: sign for sign in ("==", "!=", "(", ")")} | {"cancelled()": "False"}
    terms = [python.get(word) or (word if word[0] == "'" else repr(_value(word, context))) for word in words]
    return bool(eval(" ".join(terms), {}))  # of files of this repository


def _triggers(trigger: dict[str, Any], pull: Pull, action: str) -> bool:
    types = trigger.get("types", ["opened", "synchronize", "reopened"])
    return action in types and pull.base in trigger.get("branches", [pull.base])


def _github(pull: Pull, action: str) -> dict[str, Any]:
    request = {
        "number": pull.number,
        "state": "open",
        "base": {"ref": pull.base},
        "head": {"repo": {"full_name": pull.repository}},
        "user": {"login": pull.author},
    }
    return {
        "event_name": "pull_request",
        "event": {"pull_request": request, "action": action},
        "ref": pull.ref,
        "repository": REPOSITORY,
    }


def _value(path: str, context: dict[str, Any]) -> Any:
    value: Any = context
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _granted(job: dict[str, Any], pull: Pull) -> Job:
    """What a job gets: a fork's nothing, Dependabot's no secrets of Actions, but what `permissions` ask for."""
    fork, permissions = pull.repository != REPOSITORY, job.get("permissions", {})
    token = permissions.get("id-token") == "write" and not fork
    place = f"environment:{job['environment']}" if "environment" in job else "pull_request"
    writes = {name for name, level in permissions.items() if level == "write" and name != "id-token"}
    return Job(
        subject=f"repo:{REPOSITORY}:{place}" if token else None,
        secrets=not fork and pull.author != DEPENDABOT,
        writes=frozenset() if fork else frozenset(writes),
    )
