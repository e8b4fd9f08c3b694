"""Three environments and the registry, from nothing to nothing."""

import json
import re
from collections import Counter

import pytest

from clones import REGION, Clone
from imagepipe.operations.estimate import PRICES

from .conftest import EARLY_PLAN, ENVIRONMENTS, OLDER_TERRAGRUNT

APPLIED = ("dev", "staging", "prod")


def test_plan_saved_with_mock_outputs_cannot_be_applied(deployed: Clone) -> None:
    """Not even once the real outputs are there: Terraform would take the values that the plan holds."""
    finished = deployed.terragrunt("apply", str(deployed.top / EARLY_PLAN), unit="staging/compute", check=False)
    assert finished.returncode != 0
    assert "This plan was made with mock outputs" in finished.stdout + finished.stderr


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_state_bucket_is_versioned_encrypted_private_and_tls_only(deployed: Clone, environment: str) -> None:
    s3 = deployed.client(environment, "s3")
    bucket = {"Bucket": f"image-pipeline-tfstate-{ENVIRONMENTS[environment]}-{REGION}"}
    assert s3.get_bucket_versioning(**bucket)["Status"] == "Enabled"
    rules = s3.get_bucket_encryption(**bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert all(s3.get_public_access_block(**bucket)["PublicAccessBlockConfiguration"].values())
    statements = json.loads(s3.get_bucket_policy(**bucket)["Policy"])["Statement"]
    denied = [statement for statement in statements if statement["Effect"] == "Deny"]
    assert any(statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}} for statement in denied)
    tables = deployed.client(environment, "dynamodb").list_tables()["TableNames"]
    assert "image-pipeline-tflock" in tables


@pytest.mark.parametrize("environment", ["shared", "staging", "prod"])  # dev's is looked at below
def test_second_plan_is_empty(deployed: Clone, environment: str) -> None:
    finished = deployed.imagepipe("plan", "--env", environment, ROLE="plan")
    total = next(line for line in finished.stdout.splitlines() if "total" in line)
    assert re.findall(r"\d+", total) == ["0"] * 4, finished.stdout


def test_plain_terragrunt_sees_no_changes_either(deployed: Clone) -> None:
    deployed.terragrunt("run", "--all", "--", "plan", "-detailed-exitcode", unit="dev")


def test_what_was_changed_by_hand_is_found_named_and_mended_by_the_older_spelling(deployed: Clone) -> None:
    logs, group = deployed.client("dev", "logs"), "/aws/lambda/image-pipeline-dev-api"
    (before,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    logs.put_retention_policy(logGroupName=group, retentionInDays=365)

    finished = deployed.imagepipe("drift", "--env", "dev", "--json", check=False, ROLE="plan")
    assert finished.returncode == 2
    (difference,) = json.loads(finished.stdout)["dev"]
    assert (difference["unit"], difference["action"], difference["by_hand"]) == ("compute", "change", True)
    assert 'log_group.function["api"]' in difference["address"]
    changed = {"name": "retention_in_days", "deployed": 365, "wanted": before["retentionInDays"]}
    assert difference["attributes"] == [changed]

    applied = deployed.terragrunt("run-all", "apply", "-no-color", unit="dev", program=OLDER_TERRAGRUNT)
    counts = Counter(re.findall(r"Resources: (\d+ added, \d+ changed, \d+ destroyed)", applied.stdout))
    assert counts == {"0 added, 0 changed, 0 destroyed": 4, "0 added, 1 changed, 0 destroyed": 1}, applied.stderr
    assert deployed.imagepipe("drift", "--env", "dev", ROLE="plan").returncode == 0


@pytest.mark.parametrize("environment", APPLIED)
def test_functions_run_the_released_image_by_digest(deployed: Clone, environment: str) -> None:
    digest = json.loads((deployed.top / "build/image.json").read_text())["digest"]
    functions = deployed.client(environment, "lambda")
    for name in ("processor", "api"):
        function = functions.get_function(FunctionName=f"image-pipeline-{environment}-{name}", Qualifier="live")
        assert function["Code"]["ImageUri"] == (
            f"444444444444.dkr.ecr.{REGION}.amazonaws.com/image-pipeline/processor@{digest}"
        )
        assert function["Configuration"]["Version"] != "$LATEST"


def test_change_of_a_module_reaches_dev_and_not_what_runs_a_ref(deployed: Clone) -> None:
    file = deployed.top / "modules/storage/outputs.tf"
    before = file.read_text()
    file.write_text(before + '\noutput "probe" {\n  description = "Only a probe."\n  value       = "probe"\n}\n')
    try:
        changes = {name: plan_of(deployed, f"{name}/storage") for name in APPLIED}
    finally:
        file.write_text(before)
    assert "probe" in changes["dev"]
    assert "probe" not in changes["staging"]
    assert "probe" not in changes["prod"]


def plan_of(clone: Clone, unit: str) -> str:
    return clone.terragrunt("plan", "-no-color", unit=unit).stdout


@pytest.mark.parametrize("environment", APPLIED)
def test_outputs_say_where_the_environment_is(deployed: Clone, environment: str) -> None:
    outputs = deployed.outputs(environment)
    assert outputs["upload_bucket_name"] == f"image-pipeline-{environment}-uploads-{ENVIRONMENTS[environment]}-{REGION}"
    assert outputs["api_url"].startswith("https://")
    assert outputs["dashboard_url"].endswith(f"/image-pipeline-{environment}")


def test_dev_costs_less_than_a_dollar_a_month_at_rest(deployed: Clone) -> None:
    """Alarms are paid by the metrics that they watch; docs/costs.md says how much."""
    cloudwatch = deployed.client("dev", "cloudwatch")
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    watched = sum(len([query for query in alarm.get("Metrics", []) if "MetricStat" in query]) or 1 for alarm in alarms)
    free, price = PRICES["free"]["alarm_metrics"], PRICES["alarm_metric_month"]
    assert alarms
    assert (watched - free) * price < 1
    assert len(cloudwatch.list_dashboards()["DashboardEntries"]) == 1
    keys = deployed.client("dev", "kms").list_aliases()["Aliases"]
    assert [key for key in keys if not key["AliasName"].startswith("alias/aws/")] == []


@pytest.mark.parametrize("role", ["", "plan"])
def test_doctor_finds_dev_in_order_and_says_what_it_could_not_ask(deployed: Clone, role: str) -> None:
    """As an administrator, and as a workflow that plans."""
    finished = deployed.imagepipe("doctor", "--env", "dev", "--json", ROLE=role)
    verdicts = {answer["check"]: answer["verdict"] for answer in json.loads(finished.stdout)["dev"]}
    assert verdicts == {
        **dict.fromkeys(("tools", "region", "credentials", "state", "image", "workflows", "units", "functions"), "ok"),
        **dict.fromkeys(("concurrency", "API quota", "registry", "budget"), "not asked"),
        **dict.fromkeys(("repository", "alarm receivers"), "look"),
    }


def test_doctor_says_that_prod_calls_nobody(deployed: Clone) -> None:
    finished = deployed.imagepipe("doctor", "--env", "prod", check=False)
    assert finished.returncode == 3
    assert "an alarm calls nobody" in finished.stdout


def test_credentials_of_another_account_are_refused_naming_both(deployed: Clone) -> None:
    finished = deployed.imagepipe("plan", "--env", "dev", check=False, AWS_ACCESS_KEY_ID="999999999999")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert re.fullmatch(r"imagepipe: dev is account 111111111111, .* account 999999999999: .*\n", finished.stderr)


def test_a_placeholder_account_is_refused_on_aws(deployed: Clone) -> None:
    """CLOUD=aws takes the caller's environment as it is; here it leads to the local cloud."""
    finished = deployed.imagepipe("plan", "--env", "dev", "--cloud", "aws", check=False, **deployed.exports("dev"))
    assert finished.returncode == 1
    assert "live/dev/env.hcl names the account 111111111111, a placeholder" in finished.stderr


@pytest.mark.parametrize(("command", "environment"), [("apply", "staging"), ("apply", "prod"), ("destroy", "dev")])
def test_what_needs_a_yes_stops_where_nobody_can_say_it(deployed: Clone, command: str, environment: str) -> None:
    finished = deployed.imagepipe(command, "--env", environment, check=False)
    assert finished.returncode == 1
    assert "set YES=1 (--yes) to answer yes" in finished.stderr


def test_no_tracked_file_was_changed(deployed: Clone) -> None:
    assert deployed.git("status", "--porcelain", "--untracked-files=all") == ""
