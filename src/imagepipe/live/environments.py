"""The environments under live/, read from their data files and checked before any other tool reads them."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import hcl2
from lark.exceptions import LarkError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from imagepipe.errors import PipelineError

ROOT = Path(__file__).resolve().parents[3]
LIVE = ROOT / "live"

#: The environment with the registry that all others pull their image from: applied first, destroyed last.
SHARED = "shared"

#: The environment of GitHub whose jobs may take the plan roles. No environment of ours may have its name.
PLAN = "plan"

#: Names that begin like those of the state bucket and the lock table, which all environments of an account share.
RESERVED = ("tflock", "tfstate")

#: The unit with images, records and messages. An administrator applies it where they may not be erased.
STORES_UNIT = "storage"

#: In a release: the image or the modules of this checkout.
WORKTREE = "worktree"

#: The unit with the permissions of workflows. Only an administrator applies it.
ACCESS_UNIT = "ci-access"

#: The unit with the alarms.
MONITORING_UNIT = "monitoring"

Model = TypeVar("Model", bound=BaseModel)


def _ref(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", value):
        raise ValueError('"worktree", or a tag, branch or commit of this repository')
    return value


class _StorageData(BaseModel):
    deletion_protection: bool
    force_destroy: bool


class _PromotionData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    #: Hours that a release must have run here before it may be promoted.
    soak_hours: Annotated[float, Field(ge=0)]


class _RolloutData(BaseModel):
    model_config = ConfigDict(extra="forbid")

    #: Percentage of the calls that a new version gets first; 0: all calls at once.
    canary_percent: Annotated[int, Field(ge=0, le=50)]
    #: Minutes that a new version is watched. A workflow's credentials last an hour, for everything it does.
    bake_minutes: Annotated[float, Field(ge=0, le=45)]

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if self.canary_percent and not self.bake_minutes:
            raise ValueError("bake_minutes must be more than 0 where canary_percent is, or the canary is not watched")
        return self


class _CiAccessData(BaseModel):
    create_oidc_provider: bool = True


class _ProcessorData(BaseModel):
    # The defaults of modules/compute. A test compares them.
    backfill_concurrency: int = 2
    maximum_concurrency: int = 10


class _ApiFunctionData(BaseModel):
    reserved_concurrency: int | None = None


class _ComputeData(BaseModel):
    api: _ApiFunctionData = _ApiFunctionData()
    architecture: Literal["arm64", "x86_64"]
    processor: _ProcessorData = _ProcessorData()


class _ThrottlingData(BaseModel):
    rate_limit: float = 0


class _ApiData(BaseModel):
    throttling: _ThrottlingData = _ThrottlingData()


class _MonitoringData(BaseModel):
    alarm_emails: list[str] = []


class ImageScan(BaseModel):
    """The mildest finding of the registry's scan that refuses an image, and the time to wait for the scan."""

    model_config = ConfigDict(extra="forbid")

    refuse_from: Literal["INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
    timeout_seconds: Annotated[int, Field(ge=1)]


class EnvironmentFile(BaseModel):
    """The part of env.hcl that the command reads. The modules validate the rest."""

    environment: str
    #: Place on the way of a release, lowest first. The shared environment has none.
    order: int | None = None
    #: Whether apply asks before it changes the environment. It asks where env.hcl does not say.
    ask_first: bool = True
    account_id: Annotated[str, StringConstraints(pattern=r"^\d{12}$")]
    region: Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    storage: _StorageData | None = None
    api: _ApiData = _ApiData()
    ci_access: _CiAccessData = _CiAccessData()
    compute: _ComputeData | None = None
    monitoring: _MonitoringData = _MonitoringData()
    promotion: _PromotionData | None = None
    rollout: _RolloutData | None = None
    image_scan: ImageScan | None = None


class _ProjectFile(BaseModel):
    """live/project.json."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]*$")]


class _Build(BaseModel):
    """The build of a released image; build-push writes it."""

    model_config = ConfigDict(extra="forbid")

    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
    dirty: bool
    platform: Literal["linux/amd64", "linux/arm64"]
    recipe: str
    time: str
    version: str


class Release(BaseModel):
    """The content of live/<env>/release.json. `worktree` stands for the image or the modules of this checkout."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, StringConstraints(pattern=rf"^({WORKTREE}|sha256:[0-9a-f]{{64}})$")]
    modules: Annotated[str, AfterValidator(_ref)]
    build: _Build | None = None


@dataclass(frozen=True)
class Environment:
    """One environment, as its folder describes it."""

    name: str
    account_id: str
    region: str
    #: None in the shared environment.
    release: Release | None
    #: True if its table or a bucket refuses to be destroyed.
    protected: bool
    #: Platform of its functions: linux/amd64 or linux/arm64.
    platform: str
    #: Time that a release must have run here before it may be promoted.
    soak: timedelta = timedelta()
    #: Percentage of the calls that a new version gets first; 0: all calls at once.
    canary_percent: int = 0
    #: Time that a new version is watched before it gets all calls.
    bake: timedelta = timedelta()
    #: Whether apply asks before it changes the environment.
    ask_first: bool = True
    #: Addresses that get alarms.
    alarm_emails: tuple[str, ...] = ()
    #: Functions that may work on the queues at the same time.
    concurrency: int = 0
    #: Requests a second that its API lets through.
    api_rate: float = 0
    #: Functions that are kept for its API; 0: none, it takes those that are free.
    reserved_concurrency: int = 0
    #: False if its buckets refuse to be destroyed with what they hold: then the CI roles may not change its stores.
    erasable: bool = True

    @property
    def is_placeholder(self) -> bool:
        """True if its account is one of those that this repository comes with: one digit, twelve times."""
        return len({*self.account_id}) == 1

    @property
    def warnings(self) -> list[str]:
        """Sentences about settings that are allowed, and hardly meant."""
        if self.ask_first and MONITORING_UNIT in self.units and not self.alarm_emails:
            return [
                f"nobody hears the alarms of {self.name}: write addresses into monitoring.alarm_emails of "
                f"live/{self.name}/env.hcl and apply, then open the link in the message that AWS sends to each"
            ]
        return []

    @property
    def prefix(self) -> str:
        """Start of every name in the environment."""
        return f"{project()}-{self.name}"

    @property
    def directory(self) -> Path:
        """The environment's folder."""
        return LIVE / self.name

    @property
    def units(self) -> list[str]:
        """Names of the units, in alphabetical order."""
        return sorted(file.parent.name for file in self.directory.glob("*/terragrunt.hcl"))


@cache
def project() -> str:
    """Return the project's name, which every name in every account begins with.

    Raises:
        PipelineError: live/project.json is missing or malformed.
    """
    file = LIVE / "project.json"
    try:
        return _validated(_ProjectFile, json.loads(file.read_text()), file).name
    except (OSError, ValueError) as error:
        raise PipelineError(f'live/project.json: {error}; write {{"name": "image-pipeline"}} into it') from None


def names() -> list[str]:
    """Return the name of every environment, in the order of applying: the shared one, then by `order` of env.hcl.

    Raises:
        PipelineError: an env.hcl is malformed, has no order, or has the same order as another one; or the names of
            two environments begin alike.
    """
    folders = sorted(file.parent.name for file in LIVE.glob("*/env.hcl"))
    if PLAN in folders:
        raise PipelineError(f"live/{PLAN}: choose another name, in GitHub that of the jobs which plan pull requests")
    _refuse_names_alike(folders)
    places: dict[int, str] = {}
    for name in folders:
        if name == SHARED:
            continue
        order = _data(name).order
        if order is None:
            raise PipelineError(
                f"live/{name}/env.hcl: order is missing: a number, lower than that of the next environment"
            )
        if order in places:
            raise PipelineError(
                f"live/{places[order]}/env.hcl and live/{name}/env.hcl both have order = {order}: change one of them"
            )
        places[order] = name
    _require_one_provider(folders)
    return [*([SHARED] if SHARED in folders else []), *(places[order] for order in sorted(places))]


def _require_one_provider(folders: list[str]) -> None:
    """Refuse a second identity provider of GitHub in an account: AWS would refuse it in the middle of an apply."""
    owners: dict[str, str] = {}
    for name in folders:
        data = _data(name)
        if not data.ci_access.create_oidc_provider or not (LIVE / name / ACCESS_UNIT / "terragrunt.hcl").exists():
            continue
        if (other := owners.setdefault(data.account_id, name)) != name:
            raise PipelineError(
                f"live/{other}/env.hcl and live/{name}/env.hcl both create GitHub's identity provider in account "
                f"{data.account_id}, which has it once: set ci_access = {{ create_oidc_provider = false }} in one"
            )


def _refuse_names_alike(names: list[str]) -> None:
    """Refuse names for which the roles of one environment would reach another: they go by `<project>-<name>-*`.

    scripts/check_settings.py refuses the same when Terragrunt runs without this command.
    """
    if reserved := [name for name in names if name.startswith(RESERVED)]:
        raise PipelineError(
            f"live/{reserved[0]} begins like {' or '.join(RESERVED)}, the names of the state: call the environment "
            "otherwise"
        )
    for shorter, longer in ((a, b) for a in names for b in names if b.startswith(f"{a}-")):
        raise PipelineError(
            f"live/{shorter} and live/{longer} begin alike, so that the roles of the shorter reach the longer: call "
            "one of them otherwise, like eu-dev for dev-eu"
        )


def release_order() -> list[str]:
    """Return the environments that a release goes through, in that order."""
    return [name for name in names() if name != SHARED]


def environment_before(name: str) -> str | None:
    """Return the environment that a release comes from, or None for the first one."""
    order = release_order()
    place = order.index(name)
    return order[place - 1] if place else None


def load(name: str) -> Environment:
    """Read env.hcl and release.json of one environment.

    Raises:
        PipelineError: there is no such environment, or a file is malformed; the message names file and field.
    """
    if name not in names():
        raise PipelineError(f"there is no environment {name!r}: ENV is one of {', '.join(names())}")
    data = _data(name)
    storage = data.storage
    protected = storage is not None and (storage.deletion_protection or not storage.force_destroy)
    arm = data.compute is not None and data.compute.architecture == "arm64"
    platform = "linux/arm64" if arm else "linux/amd64"
    soak = timedelta(hours=data.promotion.soak_hours if data.promotion else 0)
    percent, bake = data.rollout.canary_percent if data.rollout else 0, data.rollout.bake_minutes if data.rollout else 0
    return Environment(
        name,
        data.account_id,
        data.region,
        _release(name),
        protected,
        platform,
        soak,
        percent,
        timedelta(minutes=bake),
        data.ask_first,
        tuple(data.monitoring.alarm_emails),
        data.compute.processor.backfill_concurrency + data.compute.processor.maximum_concurrency if data.compute else 0,
        data.api.throttling.rate_limit,
        (data.compute.api.reserved_concurrency if data.compute else 0) or 0,
        erasable=storage is None or storage.force_destroy,
    )


def image_scan() -> ImageScan:
    """Return the rule for the registry's scan of images.

    Raises:
        PipelineError: live/shared/env.hcl does not have it.
    """
    scan = _data(SHARED).image_scan
    if scan is None:
        raise PipelineError("live/shared/env.hcl: image_scan is missing: set its refuse_from and timeout_seconds")
    return scan


def _data(name: str) -> EnvironmentFile:
    file = LIVE / name / "env.hcl"
    try:
        document = _parsed(file.read_text())
    except LarkError as error:
        raise PipelineError(f"{_relative(file)}: {str(error).splitlines()[0]}") from None
    content = document.get("locals", [{}])[0]
    # A misspelt block would silently mean its default: no soak, no canary.
    known = {*EnvironmentFile.model_fields, *(unit.stem.replace("-", "_") for unit in LIVE.glob("_units/*.hcl"))}
    if unknown := sorted({*content} - known):
        raise PipelineError(f"{_relative(file)}: {unknown[0]} is unknown: name one of {', '.join(sorted(known))}")
    data = _validated(EnvironmentFile, content, file)
    if data.environment != name:
        raise PipelineError(f"{_relative(file)}: environment is {data.environment!r}, but its folder is {name!r}")
    return data


@cache
def _parsed(text: str) -> dict[str, Any]:
    options = hcl2.SerializationOptions(strip_string_quotes=True, explicit_blocks=False, with_comments=False)
    return dict(hcl2.loads(text, serialization_options=options))


def load_all() -> list[Environment]:
    """Read every environment, in the order of applying."""
    return [load(name) for name in names()]


def _release(name: str) -> Release | None:
    if name == SHARED:
        return None
    file = LIVE / name / "release.json"
    try:
        return parse_release(name, file.read_text())
    except FileNotFoundError:
        raise PipelineError(
            f"{_relative(file)} is missing: it names the image and the modules that {name} runs"
        ) from None


def parse_release(name: str, text: str) -> Release:
    """Return the content of an environment's release file.

    Raises:
        PipelineError: the text is not JSON, lacks a field, or has an unknown one.
    """
    file = LIVE / name / "release.json"
    try:
        return _validated(Release, json.loads(text), file)
    except ValueError as error:
        raise PipelineError(f"{_relative(file)} is not JSON: {error}") from None


def _validated(model: type[Model], content: Any, file: Path) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise PipelineError(f"{_relative(file)}: {field}: {first['msg']} (found {first['input']!r:.80})") from None


def _relative(file: Path) -> str:
    return str(file.relative_to(ROOT))
