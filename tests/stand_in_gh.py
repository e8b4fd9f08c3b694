"""A stand-in for GitHub and its command `gh api`, as far as workflows use them: docs.github.com/rest.

Its state is the JSON file that GITHUB_STAND_IN names: a test writes the file before a workflow's step, and reads it
afterwards. An unknown route is an error, as is an option that `gh api` does not have.
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

#: Entries on a page: so few that a list in a test has several pages.
PAGE = 2


def answer(state: dict[str, Any], method: str, path: str, query: dict[str, str], body: dict[str, Any] | None) -> Any:
    def route(wanted: str, pattern: str) -> re.Match[str] | None:
        return re.fullmatch(f"repos/acme/pictures/{pattern}", path) if method == wanted else None

    comments, issues, pulls = (state.setdefault(name, []) for name in ("comments", "issues", "pulls"))
    if match := route("GET", r"issues/(\d+)/comments"):
        return [comment for comment in comments if comment["issue"] == int(match[1])]
    if match := route("POST", r"issues/(\d+)/comments"):
        comments.append({"id": len(comments) + 100, "issue": int(match[1]), "user": WORKFLOWS, **(body or {})})
        return comments[-1]
    if match := route("PATCH", r"issues/comments/(\d+)"):
        return changed(comments, "id", int(match[1]), body)
    if route("GET", "issues"):
        return [issue for issue in issues if issue["state"] == query["state"]]
    if route("POST", "issues"):
        issues.append({"number": len(issues) + 1, "state": "open", "user": WORKFLOWS, **(body or {})})
        return issues[-1]
    if match := route("PATCH", r"issues/(\d+)"):
        return changed(issues, "number", int(match[1]), body)
    if match := route("GET", r"commits/([0-9a-f]+)/pulls"):
        return [pull for pull in pulls if match[1] in (pull.get("merge_commit_sha"), pull["head"]["sha"])]
    if route("GET", "pulls"):
        return [
            pull for pull in pulls if pull["state"] == query["state"] and f"acme:{pull['head']['ref']}" == query["head"]
        ]
    if route("POST", "pulls"):
        assert body is not None
        number = len(pulls) + 1
        made = {"number": number, "state": "open", "html_url": f"https://github.com/acme/pictures/pull/{number}"}
        pulls.append({**body, **made, "head": {"ref": body["head"], "sha": ""}, "base": {"ref": body["base"]}})
        return pulls[-1]
    if match := route("PATCH", r"pulls/(\d+)"):
        return changed(pulls, "number", int(match[1]), body)
    if route("GET", "actions/runs"):
        wanted = (query["event"], query["head_sha"])
        return {"workflow_runs": [run for run in state["runs"] if (run["event"], run["head_sha"]) == wanted]}
    if match := route("GET", r"actions/runs/(\d+)/artifacts"):
        return {"artifacts": state["artifacts"].get(match[1], [])}
    if match := route("GET", r"actions/artifacts/(\d+)/zip"):
        return base64.b64decode(state["zips"][match[1]])
    if match := route("POST", r"actions/workflows/([\w.]+)/dispatches"):
        state.setdefault("dispatches", []).append({"workflow": match[1], **(body or {})})
        return None
    raise KeyError(path)


def changed(things: list[dict[str, Any]], key: str, value: int, body: dict[str, Any] | None) -> dict[str, Any]:
    thing = next(thing for thing in things if thing[key] == value)
    thing.update(body or {})
    return thing


def pages(content: Any) -> list[Any]:
    """Return a list in pages, as `--paginate` prints them; the list stands alone or below a key."""
    if isinstance(content, list):
        return [content[start : start + PAGE] for start in range(0, max(len(content), 1), PAGE)]
    ((key, things),) = content.items()
    return [{"total_count": len(things), key: page} for page in pages(things)]


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("command", choices=["api"])
    parser.add_argument("--method", default="GET")
    parser.add_argument("--input")
    parser.add_argument("--paginate", action="store_true")
    parser.add_argument("path")
    options = parser.parse_args()
    if not os.environ.get("GH_TOKEN"):
        sys.exit("To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable.")
    path, _, query = options.path.partition("?")
    body = json.load(sys.stdin) if options.input == "-" else None
    state = json.loads(STATE.read_text())
    state.setdefault("log", []).append(f"{options.method} {path}")
    try:
        content = answer(state, options.method, path, dict(parse_qsl(query)), body)
    except (KeyError, StopIteration):
        sys.exit("gh: Not Found (HTTP 404)")
    STATE.write_text(json.dumps(state))
    if isinstance(content, bytes):
        sys.stdout.buffer.write(content)
    elif content is not None:
        print(*map(json.dumps, pages(content) if options.paginate else [content]), sep="")


if __name__ == "__main__":
    main()
