"""Questions about who may do what, answered by the policies as they are planned; `-s` prints the table of answers.

The emulator enforces policies, too (tests/e2e/test_access.py). But its judge is not AWS's, and it has one account for
each environment, while people may put several into one.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import ACCOUNT, statements
from .evaluator import Answer, Context, Document, Principal, Request, judge
from .harness import Resources

QUESTIONS = Path(__file__).with_name("questions.txt")

Planned = Callable[[str, str], Resources]


@dataclass(frozen=True)
class Question:
    """One row of the table."""

    line: int
    section: str
    who: str
    action: str
    resource: str
    context: Context
    allowed: bool

    @property
    def text(self) -> str:
        return f"{self.line}: {self.who} {self.action} {self.resource}"


def read(text: str) -> Iterator[Question]:
    """Read the table: names first, then rows under their sections."""
    names: dict[str, str] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("= "):
            name, value = line[2:].split(None, 1)
            names[name] = value.strip()
        elif line.startswith("## "):
            section = line[3:]
        elif line and not line.startswith("#"):
            who, action, resource, context, answer = (cell.strip() for cell in line.split("|"))
            assert answer in {"yes", "no"}, line
            yield Question(
                number, section, who, action, _named(resource, names), _context(context, names), answer == "yes"
            )


def _named(resource: str, names: dict[str, str]) -> str:
    if resource.startswith(("arn:", "*")):
        return resource
    match = re.match(r"(\w+)(@?)(\w*)", resource)
    assert match, resource
    name, at, environment = match.groups()
    return names[name + at].replace("@", environment) + resource[match.end() :]


def _context(cell: str, names: dict[str, str]) -> Context:
    """Return the keys of a request. Everybody speaks TLS unless a row says otherwise."""
    pairs = [pair.strip().partition("=") for pair in cell.split(",") if pair.strip()]
    bucket = names["state"].rpartition(":")[2]
    given = {names.get(key, key).lower(): [value.replace("STATE", bucket)] for key, _, value in pairs}
    return {"aws:securetransport": ["true"]} | given


ROWS = [*read(QUESTIONS.read_text())]


def _policies(planned: Planned, plan: str, role: str) -> tuple[Document, ...]:
    resources = planned("ci-access", plan)
    names = ["read"] if role == "plan" else ["read", "write", "roles"]
    addresses = [f'aws_iam_policy.ci["{name}"]' for name in names]
    if role == "apply" and "aws_iam_policy.stores[0]" in resources:
        addresses.append("aws_iam_policy.stores[0]")
    return tuple(json.loads(resources[address]["policy"]) for address in addresses)


#: Plan of ci-access, by the environment of a row.
ACCESS_PLANS = {"dev": "dev", "dev-new": "dev-new", "dev+key": "dev-with-key", "prod": "main", "prod+key": "with-key"}

EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def principal(planned: Planned, who: str) -> Principal:
    environment, _, role = who.partition(".")
    if not role:
        return Principal("arn:aws:iam::999999999999:root" if who == "stranger" else f"{who}.amazonaws.com")
    prefix = f"arn:aws:iam::{ACCOUNT}:role/image-pipeline-{re.split('[-+]', environment)[0]}"
    plan = ACCESS_PLANS[environment]
    if role in {"plan", "apply"}:
        return Principal(f"{prefix}-ci-{role}", _policies(planned, plan, role))
    boundary = json.loads(planned("ci-access", plan)["aws_iam_policy.boundary"]["policy"])
    if role == "widened":
        return Principal(f"{prefix}-processor", (EVERYTHING,), boundary)
    compute = planned("compute", "everything" if "+key" in environment else "main")
    policy = json.loads(compute[f'aws_iam_role_policy.function["{role}"]']["policy"])
    return Principal(f"{prefix}-{role}", (policy,), boundary)


def resource_policy(planned: Planned, resource: str) -> Document | None:
    """Return the planned policy of a resource, of prod and the registry; a key of others has AWS's default policy."""
    storage, access = planned("storage", "main"), planned("ci-access", "with-key")
    if resource.startswith("arn:aws:s3:::image-pipeline-prod-"):
        purpose = resource.split("-")[3]
        return dict(json.loads(storage[f'aws_s3_bucket_policy.images["{purpose}"]']["policy"]))
    if resource.endswith(":image-pipeline-prod-uploads"):
        return dict(json.loads(storage["aws_sqs_queue.uploads"]["policy"]))
    if ":role/image-pipeline-prod-processor" in resource:
        return dict(json.loads(access['aws_iam_role.function["processor"]']["assume_role_policy"]))
    if ":repository/" in resource:
        policy = json.loads(planned("registry", "main")["aws_ecr_repository_policy.pull"]["policy"])
        return dict(policy)
    if resource.endswith("key/key-of-prod"):
        return dict(json.loads(access["aws_kms_key.storage[0]"]["policy"]))
    if ":key/" in resource:
        owner = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
        return {"Statement": [{"Effect": "Allow", "Principal": owner, "Action": "kms:*", "Resource": "*"}]}
    return None


def answer_to(planned: Planned, question: Question) -> Answer:
    account = "444444444444" if ":repository/" in question.resource else ACCOUNT
    request = Request(question.action, question.resource, account, question.context)
    return judge(principal(planned, question.who), request, resource_policy(planned, question.resource))


@pytest.mark.parametrize("question", ROWS, ids=lambda question: question.text)
def test_the_planned_policies_answer(planned: Planned, question: Question) -> None:
    answer = answer_to(planned, question)
    print(f"\n{question.text:110} {'yes' if answer.allowed else 'no ':3} {answer.why}", end="")
    assert answer.allowed is question.allowed, f"{question.section}: {answer.why}"


def test_every_right_of_the_apply_role_is_asked_about(planned: Planned) -> None:
    """A statement that no row touches could be widened without a red test."""
    reasons = {answer_to(planned, row).why for row in ROWS}
    sids = {
        sid
        for plan in ("dev", "dev-with-key")
        for document in _policies(planned, plan, "apply")
        for sid, statement in statements(json.dumps(document)).items()
        if statement["Effect"] == "Allow"
    }
    assert " ".join(sorted(sid for sid in sids if f"allowed by {sid}" not in reasons)) == ""


@pytest.mark.skipif("IAM_SIMULATE" not in os.environ, reason="compares with a package that nothing else needs")
def test_another_evaluator_agrees(planned: Planned) -> None:
    """Every row, asked of `@cloud-copilot/iam-simulate` in a process of its own; see other_evaluator.mjs."""
    lines = []
    for row in ROWS:
        asking = principal(planned, row.who)
        lines.append(
            {
                "principal": asking.name,
                "policies": asking.policies,
                "boundary": asking.boundary,
                "resourcePolicy": resource_policy(planned, row.resource),
                "action": row.action,
                "resource": row.resource,
                "account": "444444444444" if ":repository/" in row.resource else ACCOUNT,
                "context": {key: values if key in MANY else values[0] for key, values in row.context.items()},
            }
        )
    script = Path(__file__).with_name("other_evaluator.mjs")
    finished = subprocess.run(
        ["node", script], input="\n".join(map(json.dumps, lines)), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    assert len(answers) == len(ROWS)
    unknown = [row.text for row, answer in zip(ROWS, answers, strict=True) if answer["errors"]]
    print(f"\n{len(ROWS) - len(unknown)} compared; it does not know: {unknown}")
    assert [
        row.text
        for row, answer in zip(ROWS, answers, strict=True)
        if not answer["errors"] and (answer["result"] == "Allowed") is not row.allowed
    ] == []


#: Condition keys with several values.
MANY = {"dynamodb:leadingkeys", "kms:resourcealiases"}


class TestEvaluator:
    """Rules of IAM that the table leans on, each from its page of the User Guide."""

    ROLE = f"arn:aws:iam::{ACCOUNT}:role/r"
    THING = f"arn:aws:sqs:eu-west-1:{ACCOUNT}:q"

    def ask(self, *policy: dict[str, object], boundary: Document | None = None, context: Context | None = None) -> bool:
        documents = ({"Statement": [*policy]},)
        request = Request("sqs:SendMessage", self.THING, ACCOUNT, context or {})
        return judge(Principal(self.ROLE, documents, boundary), request).allowed

    @staticmethod
    def allow(**more: object) -> dict[str, object]:
        return {"Effect": "Allow", "Action": ["sqs:*"], "Resource": ["*"]} | more

    def test_a_denial_wins(self) -> None:
        assert self.ask(self.allow())
        assert not self.ask(self.allow(), self.allow(Effect="Deny"))

    def test_a_boundary_allows_nothing_and_limits_everything(self) -> None:
        assert not self.ask(boundary={"Statement": [self.allow()]})
        assert not self.ask(self.allow(), boundary={"Statement": [self.allow(Action="s3:*")]})

    def test_actions_have_no_case_and_resources_have(self) -> None:
        assert self.ask(self.allow(Action="SQS:sendmessage"))
        assert not self.ask(self.allow(Resource=self.THING.upper()))

    @pytest.mark.parametrize(
        ("operator", "values", "allowed"),
        [
            ("StringEquals", None, False),
            ("StringEqualsIfExists", None, True),
            ("StringEqualsIfExists", ["b"], False),
            ("ForAllValues:StringLike", None, True),
            ("ForAllValues:StringLike", ["a", "b"], False),
            ("ForAnyValue:StringEquals", None, False),
            ("ForAnyValue:StringEquals", ["a", "b"], True),
        ],
    )
    def test_a_missing_key_decides_by_the_operator(
        self, operator: str, values: list[str] | None, allowed: bool
    ) -> None:
        context = {} if values is None else {"x:key": values}
        assert self.ask(self.allow(Condition={operator: {"x:Key": "a"}}), context=context) is allowed

    def test_the_wildcard_of_an_arn_stays_within_its_part(self) -> None:
        condition = {"ArnLike": {"aws:SourceArn": "arn:aws:s3:*"}}
        assert not self.ask(self.allow(Condition=condition), context={"aws:sourcearn": ["arn:aws:s3:::a"]})

    def test_a_resource_policy_that_names_the_role_is_enough_in_one_account(self) -> None:
        """How a role that may write bucket policies reads the bucket."""
        own = {"Statement": [self.allow(Principal={"AWS": self.ROLE})]}
        account = {"Statement": [self.allow(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})]}
        request = Request("sqs:SendMessage", self.THING, ACCOUNT)
        assert judge(Principal(self.ROLE), request, own).allowed
        assert not judge(Principal(self.ROLE), request, account).allowed

    def test_another_account_needs_both(self) -> None:
        request = Request("sqs:SendMessage", self.THING, "444444444444")
        theirs = {"Statement": [self.allow(Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"})]}
        mine = Principal(self.ROLE, ({"Statement": [self.allow()]},))
        assert judge(mine, request, theirs).allowed
        assert not judge(mine, request).allowed
        assert not judge(Principal(self.ROLE), request, theirs).allowed

    def test_what_no_policy_here_uses_is_an_error_and_no_guess(self) -> None:
        for odd in ({"NotAction": "s3:*"}, {"Condition": {"NumericLessThan": {"x:y": "1"}}}, {"Resource": "${a}"}):
            with pytest.raises(NotImplementedError):
                self.ask(self.allow(**odd), context={"x:y": ["0"]})
