"""The summary of a plan, as a reviewer reads it."""

import io
import json
from typing import Any

from rich.console import Console

from imagepipe.releases import policies, summary
from imagepipe.releases.summary import LIMIT, Planned, dangers, markdown


def change(address: str, actions: list[str], before: Any = None, after: Any = None, **more: Any) -> dict[str, Any]:
    kind = address.split(".")[0]
    return {
        "address": address,
        "type": kind,
        "change": {"actions": actions, "before": before, "after": after, "after_unknown": {}, **more},
    }


def allow(*actions: str) -> str:
    return json.dumps({"Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "arn:bucket"}]})


LESS, MORE = allow("s3:Get"), allow("s3:Get", "s3:Put")


def planned(*changes: dict[str, Any], **fields: Any) -> Planned:
    plans = {"storage": {"resource_changes": list(changes)}, "compute": {"resource_changes": []}}
    return Planned("prod", "0123456789abcdef", plans, fields.pop("violations", []), **fields)


def test_nothing_to_do_is_one_sentence() -> None:
    text = markdown(planned())
    assert text.startswith("<!-- plan:prod -->\n## Plan of `prod` at `0123456789ab`")
    assert "Nothing changes." in text
    assert "|" not in text


def test_only_outputs_is_said_so() -> None:
    outcome = Planned("dev", "0" * 40, {"api": {"output_changes": {"url": {"actions": ["create"]}}}}, [])
    assert "Only outputs change." in markdown(outcome)


def test_danger_comes_before_counts_and_counts_before_details() -> None:
    text = markdown(
        planned(
            change("aws_sqs_queue.uploads", ["delete", "create"], {"name": "a"}, {"name": "b"}),
            change(
                "aws_iam_role_policy.api",
                ["update"],
                {"policy": allow("s3:Get")},
                {"policy": allow("s3:Get", "s3:Put")},
            ),
        )
    )
    marks = [
        "**replaces** `storage` `aws_sqs_queue.uploads`",
        "| storage | · | 1 | · | 1 |",
        "<details><summary>storage",
    ]
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "**IAM widened** in `storage` `aws_iam_role_policy.api`: allows `s3:Put on arn:bucket`" in text
    assert "- `name`: `a` → `b`" in text


def test_rights_that_shrink_are_no_danger_and_a_denial_that_goes_is_one() -> None:
    narrower = change(
        "aws_iam_policy.a", ["update"], {"policy": allow("s3:Get", "s3:Put")}, {"policy": allow("s3:Get")}
    )
    assert dangers(planned(narrower)) == []
    deny = json.dumps({"Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*", "Principal": "*"}]})
    empty = json.dumps({"Statement": []})
    freed = change("aws_s3_bucket_policy.a", ["update"], {"policy": deny}, {"policy": empty})
    assert "no longer denies" in dangers(planned(freed))[0]


def test_rights_of_what_is_new_are_named_together() -> None:
    new = [change(f"aws_iam_role_policy.r{n}", ["create"], None, {"policy": allow("s3:Get")}) for n in range(2)]
    (only,) = dangers(planned(*new))
    assert only == "**new rights**: `storage` `aws_iam_role_policy.r0`, `storage` `aws_iam_role_policy.r1`"


def test_sensitive_values_are_not_in_it() -> None:
    secret = change("aws_x.y", ["update"], {"p": "old-secret"}, {"p": "new-secret"}, after_sensitive={"p": True})
    text = markdown(planned(secret))
    assert "secret" not in text
    assert "`p`: `(sensitive)` → `(sensitive)`" in text


def test_refusals_name_rule_and_remedy() -> None:
    violation = policies.Violation("encryption", "prod/storage", "aws_sqs_queue.a", "not encrypted")
    text = markdown(planned(violations=[violation]))
    assert "- **encryption** `prod/storage` `aws_sqs_queue.a`: not encrypted; mend it, or waive encryption" in text


def test_what_waits_and_what_is_orphaned_is_told() -> None:
    text = markdown(planned(later={"api": "compute is not there yet"}, orphans=("old",)))
    assert "- `api`: compute is not there yet" in text
    assert "No folder, but still deployed: `old`" in text


def test_it_fits_a_comment_and_says_what_is_left_out() -> None:
    many = [
        change(
            f"aws_x.y[{n}]", ["update"], {f"a{m}": "x" * 90 for m in range(20)}, {f"a{m}": "z" * 90 for m in range(20)}
        )
        for n in range(400)
    ]
    text = markdown(planned(*many))
    assert LIMIT * 0.9 < len(text) <= LIMIT
    assert text.endswith("`make plan` shows all of it.\n")
    assert text.count("<details>") == text.count("</details>")
    assert "| storage | · | 400 | · | · |" in text


def test_programs_get_the_same() -> None:
    document = json.loads(summary.as_json(planned(change("aws_s3_bucket.a", ["delete"], {}, None))))
    assert document["counts"] == {"create": 0, "change": 0, "destroy": 1, "replace": 0}
    assert len(document["dangers"]) == 1


def test_table_has_a_row_per_unit_with_why_it_waits_and_a_total() -> None:
    plans = {
        "storage": {"resource_changes": [change("aws_sqs_queue.a", ["create"]), change("aws_sqs_queue.b", ["delete"])]},
        "compute": {"resource_changes": [change("aws_sqs_queue.c", ["delete", "create"])]},
        "api": {"output_changes": {"url": {"actions": ["create"]}}},
    }
    output = io.StringIO()
    Console(file=output, width=120).print(summary.table("dev", plans, {"compute": "storage is not there yet"}))
    rows = [line.replace("│", " ").split() for line in output.getvalue().splitlines()]
    assert ["storage", "1", "·", "1", "·"] in rows
    assert ["compute", "·", "·", "·", "1", "later:", "storage", "is", "not", "there", "yet"] in rows
    assert ["api", "·", "·", "·", "·"] in rows
    assert ["total", "1", "0", "1", "1"] in rows
