"""Findings of the registry's scan: the level, and waivers of single vulnerabilities."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from imagepipe.container import REPOSITORY
from imagepipe.container.layout import MANIFEST_TYPE
from imagepipe.errors import PipelineError
from imagepipe.live import environments
from imagepipe.releases import image_scan, waivers
from imagepipe.releases.image_scan import Finding, Waiver
from imagepipe.terragrunt.target import Cloud, Target

TODAY = date(2026, 11, 28)


def waiver(cve: str, until: str = "2027-01-31") -> Waiver:
    return Waiver(cve=cve, reason="no fix in Debian yet, and never called", until=date.fromisoformat(until))


def judge(*findings: tuple[str, str], level: str = "HIGH", waived: tuple[Waiver, ...] = (), **counts: int) -> list[str]:
    """What is said of a scan with these findings (name and severity), or with other counts of them."""
    counted = {severity: sum(kind == severity for _, kind in findings) for _, severity in findings} | counts
    said: list[str] = []
    image_scan.judge(counted, [Finding(*one) for one in findings], level, list(waived), said.append, TODAY)
    return said


@pytest.mark.parametrize(
    ("counts", "level", "refused"),
    [
        ({}, "INFORMATIONAL", None),
        ({"MEDIUM": 5, "LOW": 2}, "HIGH", None),
        ({"CRITICAL": 1, "HIGH": 2, "LOW": 9}, "HIGH", "1 CRITICAL, 2 HIGH"),
        ({"HIGH": 2}, "HIGH", "2 HIGH"),
        ({"LOW": 1}, "LOW", "1 LOW"),
    ],
)
def test_findings_at_or_above_the_level_are_refused(counts: dict[str, int], level: str, refused: str | None) -> None:
    findings = [(f"CVE-{severity}-{n}", severity) for severity, count in counts.items() for n in range(count)]
    if refused is None:
        assert judge(*findings, level=level) == [f"scanned: nothing at or above {level}"]
        return
    with pytest.raises(PipelineError, match=f"found {refused}; {level} and above are refused"):
        judge(*findings, level=level)


def test_waived_vulnerability_passes_and_is_named() -> None:
    """An unfixed finding of the base image does not block every release, and the level stays for all others."""
    said = judge(("CVE-2026-1", "HIGH"), ("CVE-2026-1", "HIGH"), waived=(waiver("CVE-2026-1"),))
    assert said == ["waived: CVE-2026-1", "scanned: nothing at or above HIGH that is not waived"]
    with pytest.raises(PipelineError, match=r"found 1 HIGH; .*: CVE-2026-2\. Update the base"):
        judge(("CVE-2026-1", "HIGH"), ("CVE-2026-2", "HIGH"), waived=(waiver("CVE-2026-1"),))


def test_waiver_holds_until_its_last_day() -> None:
    finding = ("CVE-2026-1", "HIGH")
    assert judge(finding, waived=(waiver("CVE-2026-1", "2026-11-28"),))
    with pytest.raises(PipelineError, match=r"CVE-2026-1; the waiver of CVE-2026-1 has ended"):
        judge(finding, waived=(waiver("CVE-2026-1", "2026-11-27"),))


def test_finding_that_is_counted_and_not_named_is_refused() -> None:
    """A list that is shorter than its count must not let anything pass."""
    with pytest.raises(PipelineError, match="found 2 HIGH"):
        judge(("CVE-2026-1", "HIGH"), waived=(waiver("CVE-2026-1"),), HIGH=3)


def test_waiver_that_is_not_needed_any_more_is_named() -> None:
    assert (
        judge(waived=(waiver("CVE-2026-1"),))[0]
        == "the scan does not name CVE-2026-1: remove its waiver from live/scan-waivers.json"
    )


def test_refusal_names_the_file_and_not_every_finding() -> None:
    findings = [(f"CVE-2026-{n:03}", "HIGH") for n in range(30)]
    with pytest.raises(
        PipelineError, match=r"CVE-2026-009 and 20 more\. .* waive it by name in live/scan-waivers.json"
    ):
        judge(*findings)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"reason": "no fix in Debian yet, and never called", "until": "2027-01-31"}, "cve: Field required"),
        ({"cve": "CVE-2026-1", "reason": "no fix in Debian yet, and never called"}, "until: Field required"),
        ({"cve": "CVE-2026-1", "reason": "no fix", "until": "2027-01-31"}, "reason: .* at least 20 characters"),
        ({"cve": "*", "reason": "no fix in Debian yet, and never called", "until": "2027-01-31"}, "cve: .* pattern"),
    ],
)
def test_waiver_needs_a_name_a_reason_and_a_last_day(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, entry: dict[str, str], message: str
) -> None:
    file = tmp_path / "scan-waivers.json"
    file.write_text(json.dumps([entry]))
    monkeypatch.setattr(waivers, "ROOT", tmp_path)
    with pytest.raises(PipelineError, match=f"scan-waivers.json: 0.{message}"):
        waivers.read(file, Waiver)


def test_waivers_of_the_repository_can_be_read() -> None:
    assert isinstance(waivers.read(image_scan.WAIVERS, Waiver), list)


@pytest.mark.parametrize(
    ("scanned", "level", "waived", "outcome"),
    [
        (True, "CRITICAL", [], None),
        (True, "HIGH", [], "found 1 HIGH"),
        (True, "HIGH", [waiver("CVE-9999-9999", "2999-01-31")], None),
        (False, "HIGH", [], "no scan of sha256:"),
    ],
)
@mock_aws
def test_scan_of_the_registry_is_waited_for_and_judged(
    monkeypatch: pytest.MonkeyPatch, scanned: bool, level: str, waived: list[Waiver], outcome: str | None
) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    policy = environments.ImageScan(refuse_from=level, timeout_seconds=1)  # type: ignore[arg-type]
    monkeypatch.setattr(environments, "image_scan", lambda: policy)
    monkeypatch.setattr(waivers, "read", lambda *_: waived)
    monkeypatch.setattr(image_scan, "_PAUSE_SECONDS", 0.1)
    shared = Target(environments.load("shared"), Cloud.AWS, {})
    client = shared.client("ecr")
    client.create_repository(repositoryName=REPOSITORY)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"digest": "sha256:0"},
        "layers": [],
    }
    pushed = client.put_image(repositoryName=REPOSITORY, imageManifest=json.dumps(manifest), imageTag="release-1")
    digest = pushed["image"]["imageId"]["imageDigest"]
    if scanned:
        client.start_image_scan(repositoryName=REPOSITORY, imageId={"imageDigest": digest})
    said: list[str] = []
    if outcome is None:
        image_scan.wait(shared, digest, said.append)
        assert said[-1].startswith("scanned: nothing at or above")
    else:
        with pytest.raises(PipelineError, match=outcome):
            image_scan.wait(shared, digest, said.append)
