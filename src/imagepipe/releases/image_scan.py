"""Waits for the registry's scan of an image, and judges its findings.

live/scan-waivers.json lets one vulnerability pass by its name, with a reason and a last day: most findings in a base
image have no fix yet, and lowering the level for all of them would let pass whatever comes next.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from imagepipe.container import REPOSITORY
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.live.environments import LIVE, ROOT
from imagepipe.releases import waivers as waiver_files
from imagepipe.terragrunt.target import Cloud, Target

WAIVERS = LIVE / "scan-waivers.json"

#: From the mildest to the worst, as ECR names them.
SEVERITIES = ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL")

#: Findings that a message names; ECR lists all of them.
NAMED = 10

_PAUSE_SECONDS = 3.0

Say = Callable[[str], None]


class Waiver(BaseModel):
    """One vulnerability that may be in images until a day."""

    model_config = ConfigDict(extra="forbid")

    cve: Annotated[str, Field(pattern=r"^[A-Z]+-[0-9A-Za-z-]+$")]  # as the scan names it: CVE-2026-12345
    reason: Annotated[str, Field(min_length=20)]
    until: date


@dataclass(frozen=True, order=True)
class Finding:
    """One vulnerability that a scan found."""

    name: str
    severity: str


def wait(shared: Target, digest: str, say: Say) -> None:
    """Wait for the registry's scan, and refuse findings at or above the level that live/shared/env.hcl names.

    Raises:
        PipelineError: there are such findings, the scan failed, or it took too long.
    """
    policy = environments.image_scan()
    waived = waiver_files.read(WAIVERS, Waiver)
    if shared.cloud is Cloud.LOCAL:
        say("the local cloud does not scan images: not checked")
        return
    pages = _pages(shared.client("ecr"), digest, policy.timeout_seconds)
    counts = pages[0].get("findingSeverityCounts", {})
    judge(counts, _findings(pages), policy.refuse_from, waived, say)


def judge(
    counts: dict[str, int],
    findings: Iterable[Finding],
    refuse_from: str,
    waived: list[Waiver],
    say: Say,
    today: date | None = None,
) -> None:
    """Refuse findings at or above a level, but for those that are waived today.

    Args:
        counts: number of findings by severity, as the registry counts them.
        findings: the same findings by name; one that is counted and not named is refused.
        today: for waivers; without, the current day in UTC.

    Raises:
        PipelineError: there are some; the message counts and names them.
    """
    day = today or datetime.now(UTC).date()
    refused = SEVERITIES[SEVERITIES.index(refuse_from) :]
    passing = {waiver.cve for waiver in waived if waiver.until >= day}
    named = [finding for finding in findings if finding.severity in refused]
    for waiver in waived:
        if waiver.cve not in {finding.name for finding in named}:
            say(f"the scan does not name {waiver.cve}: remove its waiver from {WAIVERS.relative_to(ROOT)}")
    let_through = [finding for finding in named if finding.name in passing]
    if let_through:
        say(f"waived: {', '.join(sorted({finding.name for finding in let_through}))}")
    left = {
        severity: counts.get(severity, 0) - sum(finding.severity == severity for finding in let_through)
        for severity in refused[::-1]
    }
    if any(count > 0 for count in left.values()):
        raise PipelineError(_refusal(left, {*named} - {*let_through}, refuse_from, waived, day))
    say(f"scanned: nothing at or above {refuse_from}{' that is not waived' if let_through else ''}")


def _refusal(left: dict[str, int], names: set[Finding], refuse_from: str, waived: list[Waiver], day: date) -> str:
    listed = ", ".join(f"{count} {severity}" for severity, count in left.items() if count > 0)
    shown = sorted(finding.name for finding in names)
    more = f" and {len(shown) - NAMED} more" if len(shown) > NAMED else ""
    ended = sorted(waiver.cve for waiver in waived if waiver.until < day and waiver.cve in shown)
    expired = f"; the waiver of {', '.join(ended)} has ended" if ended else ""
    return (
        f"the scan found {listed}; {refuse_from} and above are refused (live/shared/env.hcl): "
        f"{', '.join(shown[:NAMED])}{more}{expired}. Update the base (make base) or the packages (make requirements); "
        f"where there is no fix yet, waive it by name in {WAIVERS.relative_to(ROOT)}"
    )


def _pages(client: Any, digest: str, timeout_seconds: float) -> list[dict[str, Any]]:
    """Return the pages of a finished scan's findings."""
    request = {"repositoryName": REPOSITORY, "imageId": {"imageDigest": digest}}
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            answer = client.describe_image_scan_findings(**request)
            status = answer["imageScanStatus"]["status"]
        except client.exceptions.ScanNotFoundException:
            answer, status = {}, "PENDING"
        if status in {"COMPLETE", "ACTIVE"}:
            break
        if status not in {"IN_PROGRESS", "PENDING"}:
            raise PipelineError(
                f"the scan of {digest} ended as {status}: {answer['imageScanStatus'].get('description')}"
            )
        if time.monotonic() > deadline:
            raise PipelineError(f"no scan of {digest} after {timeout_seconds} s: run it again, or look into ECR")
        time.sleep(_PAUSE_SECONDS)
    pages = [answer.get("imageScanFindings", {})]
    while token := answer.get("nextToken"):
        answer = client.describe_image_scan_findings(**request, nextToken=token)
        pages.append(answer.get("imageScanFindings", {}))
    return pages


def _findings(pages: list[dict[str, Any]]) -> Iterator[Finding]:
    """Yield the findings of a basic scan, or of Inspector's enhanced one."""
    for page in pages:
        for finding in page.get("findings", []):
            yield Finding(finding["name"], finding["severity"])
        for finding in page.get("enhancedFindings", []):
            details = finding.get("packageVulnerabilityDetails", {})
            yield Finding(details.get("vulnerabilityId", finding.get("title", "")), finding["severity"])
