"""A plan is what was reviewed, or the first change that differs is named; evidence discloses no value."""

from typing import Any

import pytest

from imagepipe.releases import evidence

SALT = evidence.new_salt()


def resource(address: str, after: dict[str, Any] | None, *actions: str, **more: Any) -> dict[str, Any]:
    """A resource's change as `terraform show -json` writes it."""
    change = {"actions": [*actions], "before": None, "after": after, "after_unknown": {}, "after_sensitive": {}}
    top = {key: more.pop(key) for key in ("deposed", "previous_address") if key in more}
    return {"address": address, "type": address.split(".")[0], "change": change | more, **top}


def plan(*resources: dict[str, Any], **outputs: Any) -> dict[str, Any]:
    return {"resource_changes": [*resources], "output_changes": outputs}


API = resource("aws_api.it", {"name": "a", "tags": {}, "routes": [{"key": "GET", "open": True}]}, "update")
#: The version of an alias, and all of what it stands for.
ALIAS = resource("aws_alias.it", {"name": "live"}, "update", after_unknown={"version": True, "routing": True})
REPLACED = resource("aws_queue.it", {"name": "q"}, "delete", "create")
OUTPUT = {"actions": ["create"], "after": "https://a", "after_unknown": False, "after_sensitive": False}


def compared(reviewed: dict[str, Any], planned: dict[str, Any], *, rest: bool = False) -> list[str]:
    return evidence.compare(evidence.changes(reviewed, SALT), planned, SALT, rest=rest)


def test_the_same_plan_is_what_was_reviewed() -> None:
    reviewed = plan(API, ALIAS, REPLACED, resource("aws_x.same", {"a": 1}, "no-op"), url=OUTPUT)
    assert compared(reviewed, reviewed) == []
    assert compared(reviewed, plan(REPLACED, ALIAS, API, url=OUTPUT)) == []


@pytest.mark.parametrize(
    ("planned", "sentence"),
    [
        (plan(API, resource("aws_role.b", {}, "create")), "create aws_role.b was not reviewed"),
        (plan(), "update aws_api.it was reviewed, and is no longer planned"),
        (
            plan(resource("aws_api.it", API["change"]["after"], "delete", "create")),
            "update aws_api.it was reviewed, and now it is delete-then-create",
        ),
        (
            plan(resource("aws_api.it", API["change"]["after"] | {"name": "b"}, "update")),
            "update aws_api.it differs from what was reviewed: name would be b",
        ),
        (
            plan(resource("aws_api.it", API["change"]["after"] | {"routes": [{"key": "GET", "open": 1}]}, "update")),
            "update aws_api.it differs from what was reviewed: routes[0].open would be 1",
        ),
        (
            plan(resource("aws_api.it", API["change"]["after"] | {"tags": None}, "update")),
            "update aws_api.it differs from what was reviewed: tags would be null",
        ),
        (
            plan(resource("aws_api.it", {"name": "a", "tags": {}}, "update")),
            "update aws_api.it differs from what was reviewed: routes[0].key would be absent; "
            "routes[0].open would be absent",
        ),
        (
            plan(resource("aws_api.it", API["change"]["after"], "update", after_unknown={"name": True})),
            "update aws_api.it differs from what was reviewed: name would be (known after apply)",
        ),
        (plan(API, url=OUTPUT), "create output.url was not reviewed"),
        (plan(API, resource("aws_x.a", None, "forget")), "forget aws_x.a was not reviewed"),
        (
            plan(API, resource("aws_x.a", {}, "no-op", importing={"id": "theirs"})),
            "import-then-no-op aws_x.a was not reviewed",
        ),
        (
            plan(API, resource("aws_x.b", {}, "no-op", previous_address="aws_x.a")),
            "move from aws_x.a-then-no-op aws_x.b was not reviewed",
        ),
        (plan(API, resource("data.external.x", {}, "read")), "read data.external.x was not reviewed"),
        (
            plan(API, resource("aws_api.it", None, "delete", deposed="1a")),
            "delete aws_api.it (deposed 1a) was not reviewed",
        ),
    ],
)
def test_the_change_that_differs_is_named(planned: dict[str, Any], sentence: str) -> None:
    assert compared(plan(API), planned) == [sentence]


def test_what_was_unknown_must_be_unknown_still() -> None:
    known = resource("aws_alias.it", {"name": "live", "version": "4", "routing": [{"weight": 0.1}]}, "update")
    assert compared(plan(ALIAS), plan(known)) == [
        "update aws_alias.it differs from what was reviewed: routing would be absent; routing[0].weight would be 0.1; "
        "version would be 4"
    ]


def test_what_an_apply_that_died_has_left_may_be_less_and_never_more() -> None:
    reviewed = plan(API, ALIAS, REPLACED)
    known = resource("aws_alias.it", {"name": "live", "version": "4", "routing": [{"weight": 0.1}]}, "update")
    half = resource("aws_queue.it", {"name": "q"}, "create")
    assert compared(reviewed, plan(known, half), rest=True) == []
    other = resource("aws_queue.it", {"name": "another"}, "create")
    assert compared(reviewed, plan(other), rest=True) == [
        "create aws_queue.it differs from what was reviewed: name would be another"
    ]
    assert compared(reviewed, plan(half, resource("aws_x.a", {}, "create")), rest=True) == [
        "create aws_x.a was not reviewed"
    ]


def test_evidence_holds_no_value_and_a_sensitive_one_is_not_shown() -> None:
    def secret(value: str) -> dict[str, Any]:
        return plan(resource("aws_key.it", {"pin": value, "name": "n"}, "create", after_sensitive={"pin": True}))

    (change,) = evidence.changes(secret("correct horse"), SALT)
    assert "horse" not in change.model_dump_json()
    assert '"n"' not in change.model_dump_json()
    assert compared(secret("correct horse"), secret("correct horse")) == []
    assert compared(secret("correct horse"), secret("battery")) == [
        "create aws_key.it differs from what was reviewed: pin would be (sensitive)"
    ]
    (other,) = evidence.changes(secret("correct horse"), evidence.new_salt())
    assert other.values != change.values


def test_a_sensitive_value_has_a_digest_that_is_slow_to_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: list[bytes] = []
    scrypt = evidence.hashlib.scrypt

    def counted(content: bytes, **cost: Any) -> bytes:
        slow.append(content)
        return scrypt(content, **cost)

    monkeypatch.setattr(evidence.hashlib, "scrypt", counted)
    after = {"auth": {"pin": "1234"}, "name": "n"}
    evidence.changes(plan(resource("aws_key.it", after, "create", after_sensitive={"auth": True})), SALT)
    assert slow == [b'"1234"']


def test_reading_alone_is_nothing_to_apply() -> None:
    assert evidence.touched(plan(resource("data.aws_x.y", {}, "read"), resource("aws_x.y", {}, "no-op"))) == []
    assert evidence.touched(plan(resource("aws_x.y", {}, "no-op", previous_address="aws_x.z"), url=OUTPUT)) == [
        ("aws_x.y", "move from aws_x.z-then-no-op"),
        ("output.url", "create"),
    ]
