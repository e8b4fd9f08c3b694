#!/usr/bin/env python3
"""Refuse names that hide what they name: `scripts/check_words.py [FOLDER …]`, by default in the whole repository.

A variable called `found` or `each` makes a reader look for the noun that the writer had in mind. CONTRIBUTING.md has
the rules of words; this check knows the names that came up most.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BANNED = frozenset({"asked", "each", "found", "heard", "news", "some", "told"})


def names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and name of all that a module defines: variables, parameters, attributes, functions, classes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id if isinstance(node, ast.Name) else node.attr
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or (
            isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name
        ):
            yield node.lineno, node.name
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def main() -> int:
    """Print every banned name; exit with 1 if there is one."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *(sys.argv[1:] or ["."])],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = [
        f"{path}:{line}: {name} names no thing: use the noun (file, unit, record, answer, …)"
        for path in listed.split("\0")
        if path.endswith(".py") and (ROOT / path).exists()
        for line, name in sorted(names(ast.parse((ROOT / path).read_text())))
        if name.strip("_") in BANNED
    ]
    print("\n".join(lines), file=sys.stderr, end="\n" if lines else "")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
