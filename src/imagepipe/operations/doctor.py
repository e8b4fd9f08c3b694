"""Checks what an environment needs to work, and names the remedy for what is missing.

Every question only reads. Most of them the plan role may ask (modules/ci-access); one that the caller may not ask, or
that the local cloud does not answer, is listed as such.
"""

import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.table import Table

from imagepipe.console import literal
from imagepipe.container import REPOSITORY
from imagepipe.errors import PipelineError
from imagepipe.live import environments, roles
from imagepipe.live.environments import SHARED, Environment
from imagepipe.live.roles import Role
from imagepipe.terragrunt import runner, state
from imagepipe.terragrunt.planned_functions import Function, judged
from imagepipe.terragrunt.required_image import require_image
from imagepipe.terragrunt.target import Cloud, Target, caller_account, require_account, require_own_accounts
from imagepipe.tools import tool_variables

#: Executions at a time for each request a second that the API lets through: a call takes less than a tenth of a second.
CALLS_PER_REQUEST = 0.1

#: Executions that Lambda lets nobody reserve.
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVED = 100

#: Codes by which a service says that the caller may not ask.
_FORBIDDEN = frozenset({"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation", "403"})


class Verdict(StrEnum):
    """The verdict of a check."""

    OK = "ok"
    LOOK = "look"  # allowed, and perhaps not meant
    FIX = "fix"  # must be mended
    UNKNOWN = "not asked"


_COLOURS = {Verdict.OK: "green", Verdict.LOOK: "yellow", Verdict.FIX: "red", Verdict.UNKNOWN: "dim"}


@dataclass(frozen=True)
class Answer:
    """The answer of one check."""

    check: str
    verdict: Verdict
    facts: str
    #: A command, or the place to look at. Empty if all is well.
    remedy: str = ""


@dataclass(frozen=True)
class Patient:
    """An environment in a cloud, with what several checks read."""

    target: Target

    @property
    def environment(self) -> Environment:
        """The environment."""
        return self.target.environment

    @property
    def on_aws(self) -> bool:
        """True for AWS, False for the local cloud."""
        return self.target.cloud is Cloud.AWS

    @cached_property
    def outputs(self) -> dict[str, dict[str, Any]]:
        """Outputs of the units that were applied, by unit; none without a state bucket."""
        if not state.has_state_bucket(self.target):
            return {}
        return {unit: state.outputs_in(one) for unit, one in state.states(self.target).items() if one["outputs"]}

    @cached_property
    def registry(self) -> Environment:
        """The environment with the registry."""
        return environments.load(SHARED)

    @cached_property
    def neighbours(self) -> list[Environment]:
        """Environments of the same account and region, this one included."""
        place = (self.environment.account_id, self.environment.region)
        return [one for one in environments.load_all() if (one.account_id, one.region) == place]


Check = Callable[[Patient], Iterator[Answer]]


def examine(target: Target) -> list[Answer]:
    """Run every check of an environment. Without usable credentials, run those that need none."""
    patient = Patient(target)
    answers = [answer for check in _WITHOUT_CREDENTIALS for answer in answers_of(check, patient)]
    credentials = [*answers_of(_credentials, patient)]
    answers += credentials
    if any(answer.verdict is Verdict.FIX for answer in credentials):
        names = [_name(check) for check in _WITH_CREDENTIALS]
        return [*answers, Answer(", ".join(names), Verdict.UNKNOWN, "this needs credentials of the account")]
    return [*answers, *(answer for check in _WITH_CREDENTIALS for answer in answers_of(check, patient))]


def warnings(target: Target) -> list[str]:
    """Return sentences about settings that are allowed and hardly meant, for those who plan or apply."""
    quota = [answer for answer in answers_of(_concurrency, Patient(target)) if answer.verdict is Verdict.FIX]
    return [*target.environment.warnings, *(f"{answer.facts}: {answer.remedy}" for answer in quota)]


def table(answers: list[Answer], title: str) -> Table:
    """Return answers as a table for a terminal."""
    result = Table(title=title, title_justify="left")
    for heading in ("check", "", "facts", "remedy"):
        result.add_column(heading, overflow="fold")
    for answer in answers:
        colour = _COLOURS[answer.verdict]
        verdict = f"[{colour}]{answer.verdict}[/]"
        result.add_row(answer.check, verdict, literal(answer.facts), literal(answer.remedy))
    return result


def as_json(answers: list[Answer]) -> list[dict[str, str]]:
    """Return answers as values that JSON can hold."""
    return [asdict(answer) for answer in answers]


def _name(check: Check) -> str:
    return check.__name__.strip("_").replace("_", " ").replace("api", "API")


def answers_of(check: Check, patient: Patient) -> Iterator[Answer]:
    """Yield the answers of a check. A check that cannot be asked says so, and keeps no other from being asked."""
    try:
        yield from check(patient)
    except PipelineError as error:
        yield Answer(_name(check), Verdict.FIX, "", str(error))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        operation = f"{error.operation_name} answers {code or 'an error'}"
        if code in _FORBIDDEN:
            yield Answer(
                _name(check), Verdict.UNKNOWN, f"these credentials may not ask: {operation}", "ask as an administrator"
            )
        elif patient.on_aws:
            yield Answer(_name(check), Verdict.UNKNOWN, operation, "ask again later, or look in the console")
        else:
            yield Answer(_name(check), Verdict.UNKNOWN, f"the local cloud does not answer: {operation}")
    except BotoCoreError as error:
        yield Answer(_name(check), Verdict.UNKNOWN, str(error), "look at your network, and ask again")


def _tools(patient: Patient) -> Iterator[Answer]:
    path = tool_variables()["PATH"]
    if missing := [name for name in ("git", "terraform", "terragrunt") if not shutil.which(name, path=path)]:
        yield Answer("tools", Verdict.FIX, f"{', '.join(missing)} is missing", "make setup")
        return
    versions = ", ".join(f"{name} {version}" for name, version in runner.versions().items())
    yield Answer("tools", Verdict.OK, versions)


def _repository(patient: Patient) -> Iterator[Answer]:
    repository = roles.repository()
    # GitHub forbids two hyphens in a row in an owner's name: the placeholder can be nobody's.
    if "--" not in repository.partition("/")[0]:
        yield Answer("repository", Verdict.OK, f"alarms link to github.com/{repository}; its workflows may deploy")
        return
    verdict = Verdict.FIX if patient.on_aws else Verdict.LOOK
    facts = f"live/github.json names the placeholder {repository}: alarms link to no runbook, no workflow may deploy"
    yield Answer("repository", verdict, facts, "write your repository into live/github.json and apply")


def _region(patient: Patient) -> Iterator[Answer]:
    own, registry = patient.environment, patient.registry
    if own.region == registry.region:
        yield Answer("region", Verdict.OK, own.region)
        return
    facts = f"{own.region}, and the registry is in {registry.region}: Lambda pulls images from its own region only"
    yield Answer(
        "region", Verdict.FIX, facts, f"set the same region in live/{own.name}/env.hcl and live/shared/env.hcl"
    )


def _credentials(patient: Patient) -> Iterator[Answer]:
    target = patient.target
    if patient.on_aws:
        require_own_accounts(target.environment)
        require_account(target, caller_account(target))
    yield Answer("credentials", Verdict.OK, f"account {target.environment.account_id}, as {target.caller}")


def _concurrency(patient: Patient) -> Iterator[Answer]:
    """Compare the executions that all environments of the account may need with the quota of account and region."""
    if not patient.environment.concurrency:
        return
    needed = _executions(patient.neighbours)
    names = ", ".join(one.name for one in patient.neighbours if one.concurrency)
    facts = f"{names} may need {needed} executions at a time"
    if not patient.on_aws:
        yield Answer("concurrency", Verdict.UNKNOWN, f"{facts}; the local cloud's quota is not that of AWS")
        return
    quota = int(patient.target.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"])
    if needed <= quota:
        yield Answer("concurrency", Verdict.OK, f"{facts}; the account has {quota}")
        return
    yield Answer(
        "concurrency",
        Verdict.FIX,
        f"{facts}, and the account has {quota}: the API is throttled, messages die untried, nothing can be reserved",
        "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
        f"--desired-value {max(1000, 2 * needed)}; until it is granted, lower processor.maximum_concurrency and set "
        "compute.api.reserved_concurrency = null",
    )


def _executions(neighbours: list[Environment]) -> int:
    """Return the executions that environments of one account may need at a time."""
    reserved = sum(one.reserved_concurrency for one in neighbours)
    queues = sum(one.concurrency for one in neighbours)
    calls = sum(CALLS_PER_REQUEST * one.api_rate for one in neighbours if not one.reserved_concurrency)
    return reserved + max(UNRESERVED if reserved else 0, queues + math.ceil(calls))


def _api_quota(patient: Patient) -> Iterator[Answer]:
    needed = sum(one.api_rate for one in patient.neighbours)
    if not needed:
        return
    if not patient.on_aws:
        yield Answer("API quota", Verdict.UNKNOWN, f"throttling sums up to {needed:g} requests a second")
        return
    pages = (
        patient.target.client("service-quotas").get_paginator("list_service_quotas").paginate(ServiceCode="apigateway")
    )
    quotas = [quota["Value"] for page in pages for quota in page["Quotas"] if quota["QuotaName"] == "Throttle rate"]
    facts = f"throttling sums up to {needed:g} requests a second, and the account has {quotas[0] if quotas else '?'}"
    if quotas and quotas[0] < needed:
        yield Answer("API quota", Verdict.FIX, facts, "ask for more in Service Quotas, or lower api.throttling")
    else:
        yield Answer("API quota", Verdict.OK if quotas else Verdict.UNKNOWN, facts)


def _state(patient: Patient) -> Iterator[Answer]:
    target = patient.target
    place = state.location(target)
    if not state.has_state_bucket(target):
        yield Answer("state", Verdict.FIX, f"there is no bucket {place.bucket}", target.command("bootstrap"))
        return
    client = target.client("s3")
    wrong = []
    if client.get_bucket_versioning(Bucket=place.bucket).get("Status") != "Enabled":
        wrong.append("keeps no versions, so that a broken state cannot be taken back")
    if place.lock_table not in _tables(target, place.lock_table):
        wrong.append(f"has no lock table {place.lock_table}")
    if wrong:
        yield Answer("state", Verdict.FIX, f"{place.bucket} {' and '.join(wrong)}", target.command("bootstrap"))
    else:
        yield Answer("state", Verdict.OK, f"{place.bucket} keeps versions; locks in {place.lock_table}")


def _tables(target: Target, name: str) -> list[str]:
    client = target.client("dynamodb")
    try:
        return [client.describe_table(TableName=name)["Table"]["TableName"]]
    except client.exceptions.ResourceNotFoundException:
        return []


def _registry(patient: Patient) -> Iterator[Answer]:
    client, owner = patient.target.client("ecr"), patient.registry
    if owner.account_id != patient.environment.account_id:
        facts = f"it is in account {owner.account_id}"
        yield Answer("registry", Verdict.UNKNOWN, facts, patient.target.command("doctor", of=SHARED))
        return
    level = environments.image_scan().refuse_from
    try:
        (one,) = client.describe_repositories(registryId=owner.account_id, repositoryNames=[REPOSITORY])["repositories"]
    except client.exceptions.RepositoryNotFoundException:
        facts = f"account {owner.account_id} has no repository {REPOSITORY}"
        yield Answer(
            "registry", Verdict.FIX, facts, f"{patient.target.command('apply', of=SHARED)}, with its credentials"
        )
        return
    facts = f"{one['repositoryUri']}, a finding of {level} or worse refuses an image"
    if one.get("imageScanningConfiguration", {}).get("scanOnPush"):
        yield Answer("registry", Verdict.OK, facts)
    else:
        remedy = patient.target.command("apply", of=SHARED)
        yield Answer("registry", Verdict.FIX, f"{one['repositoryUri']} does not scan what is pushed", remedy)


def _image(patient: Patient) -> Iterator[Answer]:
    environment = patient.environment
    if environment.release is None:
        return
    require_image(patient.target)
    build = environment.release.build
    worktree = environment.release.image == environments.WORKTREE
    facts = f"{'the image of this checkout' if worktree else environment.release.image} is there"
    if build is None:
        yield Answer(
            "image", Verdict.OK, f"{facts}; release.json names no platform, the functions run {environment.platform}"
        )
    elif build.platform == environment.platform:
        yield Answer("image", Verdict.OK, f"{facts}, for {build.platform}")
    else:
        yield Answer(
            "image",
            Verdict.FIX,
            f"{facts}, for {build.platform}, and the functions run {environment.platform}: none would start",
            f"{patient.target.command('build-push')}, or change compute.architecture in env.hcl",
        )


def _workflows(patient: Patient) -> Iterator[Answer]:
    """Look for GitHub's identity provider and the two roles that it may take."""
    client, environment = patient.target.client("iam"), patient.environment
    remedy = f"as an administrator: {patient.target.command('apply')} (.github/SETTINGS.md)"
    provider = f"arn:aws:iam::{environment.account_id}:oidc-provider/{roles.ISSUER.removeprefix('https://')}"
    wrong = []
    try:
        if (
            "sts.amazonaws.com"
            not in client.get_open_id_connect_provider(OpenIDConnectProviderArn=provider)["ClientIDList"]
        ):
            wrong.append("GitHub's identity provider does not serve sts.amazonaws.com")
    except client.exceptions.NoSuchEntityException:
        wrong.append("GitHub's identity provider is missing")
    for role in Role:
        name = roles.role_arn(environment, role).rpartition("/")[2]
        try:
            client.get_role(RoleName=name)
        except client.exceptions.NoSuchEntityException:
            wrong.append(f"the role {name} is missing")
    if wrong:
        yield Answer("workflows", Verdict.LOOK, f"{', '.join(wrong)}: no workflow can deploy", remedy)
    else:
        yield Answer("workflows", Verdict.OK, f"GitHub's identity provider and the roles {', '.join(Role)} are there")


def _units(patient: Patient) -> Iterator[Answer]:
    missing = [unit for unit in patient.environment.units if unit not in patient.outputs]
    if missing:
        facts = f"{', '.join(missing)} not applied yet"
        yield Answer("units", Verdict.LOOK, facts, patient.target.command("apply"))
    else:
        yield Answer("units", Verdict.OK, f"{', '.join(patient.environment.units)} are applied")


def _functions(patient: Patient) -> Iterator[Answer]:
    """Judge the deployed functions by the law that also judges planned ones."""
    deployed = patient.outputs.get("compute", {}).get("functions", {})
    client, wrong, functions = patient.target.client("lambda"), [], []
    for service, function in deployed.items():
        own = client.get_function_configuration(FunctionName=function["name"], Qualifier=function["alias"])
        if own.get("State", "Active") not in {"Active", "Inactive"}:
            wrong.append(f"{service} is {own['State']}: {own.get('StateReason', 'no reason given')}")
        variables = own.get("Environment", {}).get("Variables", {})
        functions.append(Function(service, variables, own["MemorySize"], own["Timeout"]))
    wrong += [problem for _, problem in judged(functions, patient.environment.release)]
    if wrong:
        remedy = f"correct live/{patient.environment.name}/env.hcl, then {patient.target.command('apply')}"
        yield Answer("functions", Verdict.FIX, "; ".join(wrong), remedy)
    elif deployed:
        yield Answer("functions", Verdict.OK, f"{', '.join(deployed)}: memory, time, environment fit each other")


def _alarm_receivers(patient: Patient) -> Iterator[Answer]:
    environment = patient.environment
    if environments.MONITORING_UNIT not in environment.units:
        return
    if not environment.alarm_emails:
        verdict = Verdict.FIX if environment.warnings else Verdict.LOOK
        remedy = f"write addresses into monitoring.alarm_emails of live/{environment.name}/env.hcl and apply"
        yield Answer("alarm receivers", verdict, "an alarm calls nobody", remedy)
        return
    topic = patient.outputs.get(environments.MONITORING_UNIT, {}).get("topic_arn")
    if not topic:
        yield Answer("alarm receivers", Verdict.LOOK, "the topic is not there yet", patient.target.command("apply"))
        return
    pages = patient.target.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    states = {one["Endpoint"]: one["SubscriptionArn"] for page in pages for one in page["Subscriptions"]}
    confirmed = [address for address in environment.alarm_emails if states.get(address, "").startswith("arn:")]
    if silent := [address for address in environment.alarm_emails if address not in confirmed]:
        remedy = "open the link in the message 'AWS Notification - Subscription Confirmation', sent to each"
        yield Answer("alarm receivers", Verdict.FIX, f"not confirmed: {', '.join(silent)}", remedy)
    else:
        yield Answer("alarm receivers", Verdict.OK, f"confirmed: {', '.join(confirmed)}")


def _budget(patient: Patient) -> Iterator[Answer]:
    if not patient.on_aws:
        yield Answer("budget", Verdict.UNKNOWN, "the local cloud costs nothing")
        return
    account = patient.environment.account_id
    answer = patient.target.client("budgets").describe_budgets(AccountId=account)
    if budgets := [f"{one['BudgetName']} ({one['TimeUnit'].lower()})" for one in answer.get("Budgets", [])]:
        yield Answer("budget", Verdict.OK, ", ".join(budgets))
    else:
        facts = f"account {account} has no budget: nobody hears of a bill that grows"
        yield Answer("budget", Verdict.LOOK, facts, "make one in Billing and Cost Management, with an alert by e-mail")


_WITHOUT_CREDENTIALS: tuple[Check, ...] = (_tools, _repository, _region)
_WITH_CREDENTIALS: tuple[Check, ...] = (
    _concurrency,
    _api_quota,
    _state,
    _registry,
    _image,
    _workflows,
    _units,
    _functions,
    _alarm_receivers,
    _budget,
)
