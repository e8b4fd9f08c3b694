"""Stands in for GitHub and its command `gh api`, as far as workflows use them: docs.github.com/rest.

It keeps what it knows in the file that GITHUB_STAND_IN names, so that a test can say what is there and read what became
of it. What it is asked for and does not know is an error, as is an option that `gh api` does not have.
"""

import argparse
import base64
import json
import os
import re
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

STATE = Path(os.environ.get("GITHUB_STAND_IN", "/nowhere"))
WORKFLOWS = {"login": "github-actions[bot]"}

#: So small that every list in the tests which is one has more than one page.
PAGE = 2


def answer(state: dict[str, Any], method: str, path: str, query: dict[str, str], body: dict[str, Any] | None) -> Any:
    def route(wanted: str, pattern: str) -> re.Match[str] | None:
        return re.fullmatch(f"repos/acme/pictures/{pattern}", path) if method == wanted else None

    comments, issues, pulls = (state.setdefault(name, []) for name in ("comments", "issues", "pulls"))
    if found := route("GET", r"issues/(\d+)/comments"):
        return [each for each in comments if each["issue"] == int(found[1])]
    if found := route("POST", r"issues/(\d+)/comments"):
        comments.append({"id": len(comments) + 100, "issue": int(found[1]), "user": WORKFLOWS, **(body or {})})
        return comments[-1]
    if found := route("PATCH", r"issues/comments/(\d+)"):
        return changed(comments, "id", int(found[1]), body)
    if route("GET", "issues"):
        return [each for each in issues if each["state"] == query["state"]]
    if route("POST", "issues"):
        issues.append({"number": len(issues) + 1, "state": "open", "user": WORKFLOWS, **(body or {})})
        return issues[-1]
    if found := route("PATCH", r"issues/(\d+)"):
        return changed(issues, "number", int(found[1]), body)
    if found := route("GET", r"commits/([0-9a-f]+)/pulls"):
        return [each for each in pulls if each.get("merge_commit_sha") == found[1] or each["head"]["sha"] == found[1]]
    if route("GET", "pulls"):
        return [
            each for each in pulls if each["state"] == query["state"] and f"acme:{each['head']['ref']}" == query["head"]
        ]
    if route("POST", "pulls"):
        assert body is not None
        number = len(pulls) + 1
        made = {"number": number, "state": "open", "html_url": f"https://github.com/acme/pictures/pull/{number}"}
        pulls.append({**body, **made, "head": {"ref": body["head"], "sha": ""}, "base": {"ref": body["base"]}})
        return pulls[-1]
    if found := route("PATCH", r"pulls/(\d+)"):
        return changed(pulls, "number", int(found[1]), body)
    if route("GET", "actions/runs"):
        wanted = (query["event"], query["head_sha"])
        return {"workflow_runs": [run for run in state["runs"] if (run["event"], run["head_sha"]) == wanted]}
    if found := route("GET", r"actions/runs/(\d+)/artifacts"):
        return {"artifacts": state["artifacts"].get(found[1], [])}
    if found := route("GET", r"actions/artifacts/(\d+)/zip"):
        return base64.b64decode(state["zips"][found[1]])
    if found := route("POST", r"actions/workflows/([\w.]+)/dispatches"):
        state.setdefault("dispatches", []).append({"workflow": found[1], **(body or {})})
        return None
    raise KeyError(path)


def changed(things: list[dict[str, Any]], key: str, value: int, body: dict[str, Any] | None) -> dict[str, Any]:
    thing = next(each for each in things if each[key] == value)
    thing.update(body or {})
    return thing


def pages(found: Any) -> list[Any]:
    """As `--paginate` hands on what came page by page; lists stand alone or below a key."""
    if isinstance(found, list):
        return [found[start : start + PAGE] for start in range(0, max(len(found), 1), PAGE)]
    ((key, things),) = found.items()
    return [{"total_count": len(things), key: page} for page in pages(things)]


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("command", choices=["api"])
    parser.add_argument("--method", default="GET")
    parser.add_argument("--input")
    parser.add_argument("--paginate", action="store_true")
    parser.add_argument("path")
    asked = parser.parse_args()
    if not os.environ.get("GH_TOKEN"):
        sys.exit("To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable.")
    path, _, query = asked.path.partition("?")
    body = json.load(sys.stdin) if asked.input == "-" else None
    state = json.loads(STATE.read_text())
    state.setdefault("log", []).append(f"{asked.method} {path}")
    try:
        found = answer(state, asked.method, path, dict(parse_qsl(query)), body)
    except (KeyError, StopIteration):
        sys.exit("gh: Not Found (HTTP 404)")
    STATE.write_text(json.dumps(state))
    if isinstance(found, bytes):
        sys.stdout.buffer.write(found)
    elif found is not None:
        print(*map(json.dumps, pages(found) if asked.paginate else [found]), sep="")


if __name__ == "__main__":
    main()
