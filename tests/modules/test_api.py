"""api: HTTP API, routes, access log."""

import json
from collections.abc import Callable

import pytest

from .conftest import ACCOUNT, NAMES
from .harness import Resources

INVOKE_ARN = (
    "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/"
    "arn:aws:lambda:eu-west-1:333333333333:function:image-pipeline-prod-api:live/invocations"
)
INPUTS = {
    **NAMES,
    "cors": {"allow_origins": ["https://gallery.example.com"], "max_age_seconds": 300},
    "function": {"alias": "live", "invoke_arn": INVOKE_ARN, "name": "image-pipeline-prod-api"},
    "log_retention_days": 30,
    "throttling": {"burst_limit": 40, "rate_limit": 20},
}
PLANS = {"main": INPUTS}


@pytest.fixture(scope="session")
def api(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("api", "main")


def test_routes_are_exactly_these_and_removing_needs_a_signature(api: Resources) -> None:
    routes = {
        values["route_key"]: values["authorization_type"]
        for address, values in api.items()
        if address.startswith("aws_apigatewayv2_route")
    }
    assert routes == {
        "DELETE /images/{id}": "AWS_IAM",
        "GET /health": "NONE",
        "GET /images": "NONE",
        "GET /images/{id}": "NONE",
        "GET /images/{id}/variants/{name}": "NONE",
    }


def test_the_alias_answers(api: Resources) -> None:
    integration = api["aws_apigatewayv2_integration.function"]
    assert integration["integration_type"] == "AWS_PROXY"
    assert integration["integration_uri"] == INVOKE_ARN
    assert integration["payload_format_version"] == "2.0"


def test_only_an_api_of_this_account_may_call_only_the_alias(api: Resources) -> None:
    """Which API, is known once it exists: modules/api/tests/permission.tftest.hcl gives it an id."""
    permission = api["aws_lambda_permission.api"]
    assert permission["action"] == "lambda:InvokeFunction"
    assert permission["function_name"] == "image-pipeline-prod-api"
    assert permission["qualifier"] == "live"
    assert permission["principal"] == "apigateway.amazonaws.com"
    assert permission["source_account"] == ACCOUNT


def test_callers_share_a_limit(api: Resources) -> None:
    settings = api["aws_apigatewayv2_stage.default"]["default_route_settings"][0]
    assert (settings["throttling_burst_limit"], settings["throttling_rate_limit"]) == (40, 20)


def test_the_default_stage_follows_the_routes(api: Resources) -> None:
    stage = api["aws_apigatewayv2_stage.default"]
    assert (stage["name"], stage["auto_deploy"]) == ("$default", True)


def test_every_request_leaves_one_json_object(api: Resources) -> None:
    settings = api["aws_apigatewayv2_stage.default"]["access_log_settings"][0]
    group = "/aws/apigateway/image-pipeline-prod"
    assert settings["destination_arn"] == f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:{group}"
    fields = json.loads(settings["format"])
    assert {"request_id", "route", "status", "response_time", "integration_error", "source_ip"} <= fields.keys()
    assert all(value.startswith("$context.") for value in fields.values())
    assert api["aws_cloudwatch_log_group.access"]["name"] == group
    assert api["aws_cloudwatch_log_group.access"]["retention_in_days"] == 30


def test_other_origins_may_do_what_the_data_says(api: Resources) -> None:
    cors = api["aws_apigatewayv2_api.images"]["cors_configuration"][0]
    assert cors["allow_origins"] == ["https://gallery.example.com"]
    assert sorted(cors["allow_methods"]) == ["DELETE", "GET"]
    assert {"authorization", "x-amz-date", "x-amz-security-token"} <= set(cors["allow_headers"])
    assert cors["max_age"] == 300
    assert not cors["allow_credentials"]
