"""prod is protected, and what is destroyed leaves nothing but the state."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clones import REGION, Clone

from .conftest import ENVIRONMENTS


def test_destroy_of_prod_is_refused_while_it_is_protected(deployed: Clone) -> None:
    finished = deployed.imagepipe("destroy", "--env", "prod", "--yes", check=False)
    assert finished.returncode == 1
    assert "prod is protected: set deletion_protection = false and force_destroy = true" in finished.stderr
    assert deployed.outputs("prod")


def test_destroy_leaves_nothing_but_the_state(deployed: Clone) -> None:
    """Of dev, which an administrator destroys at once, and of prod and shared, where a workflow does it first."""
    file = deployed.top / "live/prod/env.hcl"
    text = re.sub(r"(deletion_protection\s*=) true", r"\1 false", file.read_text())
    file.write_text(re.sub(r"(force_destroy\s*=) false", r"\1 true", text))
    deployed.imagepipe("apply", "--env", "prod", "--yes")  # an administrator lets workflows erase what it holds
    destroy(deployed, ("prod", "shared"), ROLE="apply")
    for environment in ("prod", "shared"):  # a workflow leaves what lets it in
        assert [*holdings(deployed, environment)] == ["buckets", "tables", "policies", "providers", "roles"]
    destroy(deployed, ("dev", "prod", "shared"))
    assert {environment: holdings(deployed, environment) for environment in ("dev", "prod", "shared")} == {
        environment: {
            "buckets": [f"image-pipeline-tfstate-{account}-{REGION}"],
            "tables": ["image-pipeline-tflock"],
        }
        for environment, account in ENVIRONMENTS.items()
        if environment != "staging"
    }


def destroy(clone: Clone, environments: tuple[str, ...], **variables: str) -> None:
    def destroy_one(environment: str) -> None:
        clone.imagepipe("destroy", "--env", environment, "--yes", **variables)

    with ThreadPoolExecutor(len(environments)) as pool:
        list(pool.map(destroy_one, environments))


def holdings(clone: Clone, environment: str) -> dict[str, list[str]]:
    """Everything of the kinds that we deploy which the account still holds, by kind."""

    def client(service: str) -> Any:
        return clone.client(environment, service)

    providers = client("iam").list_open_id_connect_providers()
    fields = {
        "buckets": [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]],
        "tables": client("dynamodb").list_tables()["TableNames"],
        "queues": client("sqs").list_queues().get("QueueUrls", []),
        "functions": [function["FunctionName"] for function in client("lambda").list_functions()["Functions"]],
        "mappings": [
            mapping["UUID"] for mapping in client("lambda").list_event_source_mappings()["EventSourceMappings"]
        ],
        "policies": [policy["PolicyName"] for policy in client("iam").list_policies(Scope="Local")["Policies"]],
        "providers": [item["Arn"] for item in providers["OpenIDConnectProviderList"]],
        "roles": [role["RoleName"] for role in client("iam").list_roles()["Roles"]],
        "log groups": [group["logGroupName"] for group in client("logs").describe_log_groups()["logGroups"]],
        "apis": [api["Name"] for api in client("apigatewayv2").get_apis()["Items"]],
        "alarms": [alarm["AlarmName"] for alarm in client("cloudwatch").describe_alarms()["MetricAlarms"]],
        "dashboards": [board["DashboardName"] for board in client("cloudwatch").list_dashboards()["DashboardEntries"]],
        "topics": [topic["TopicArn"] for topic in client("sns").list_topics()["Topics"]],
        "repositories": [item["repositoryName"] for item in client("ecr").describe_repositories()["repositories"]],
    }
    return {kind: sorted(items) for kind, items in fields.items() if items}


def test_destroying_twice_is_no_error_and_starts_no_terraform(deployed: Clone) -> None:
    log = deployed.top / "build/logs/dev-destroy.log"
    log.unlink()
    deployed.imagepipe("destroy", "--env", "dev", "--yes")
    assert not log.exists()
