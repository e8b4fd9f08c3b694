"""api: HTTP API, routes, access log."""

import json
import re
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
PLANS = {"main": INPUTS, "public": {**INPUTS, "public_reading": True}}

CLOSED = {
    "DELETE /images/{id}": "AWS_IAM",
    "GET /health": "AWS_IAM",
    "GET /images": "AWS_IAM",
    "GET /images/{id}": "AWS_IAM",
    "GET /images/{id}/variants/{name}": "AWS_IAM",
}
OPEN = {
    "GET /health": "NONE",
    "GET /public/images": "NONE",
    "GET /public/images/{id}": "NONE",
    "GET /public/images/{id}/variants/{name}": "NONE",
}

#: Values of a log line that API Gateway, IAM or this module chooses. Text of callers and functions may hold quotes.
#: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
SAFE = {
    *("accountId", "apiId", "error.responseType", "extendedRequestId", "httpMethod", "identity.accountId"),
    *("identity.sourceIp", "identity.user", "integration.integrationStatus", "integration.latency"),
    *("integration.requestId", "integration.status", "integrationLatency", "integrationStatus", "protocol"),
    *("requestId", "requestTime", "requestTimeEpoch", "responseLatency", "responseLength", "routeKey", "stage"),
    "status",
}


@pytest.fixture(scope="session")
def api(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("api", "main")


@pytest.fixture(scope="session")
def public(planned: Callable[[str, str], Resources]) -> Resources:
    return planned("api", "public")


def routes(plan: Resources) -> dict[str, str]:
    return {
        values["route_key"]: values["authorization_type"]
        for address, values in plan.items()
        if address.startswith("aws_apigatewayv2_route")
    }


def test_every_route_needs_a_signature_by_default(api: Resources) -> None:
    assert routes(api) == CLOSED


def test_public_reading_adds_routes_for_strangers_and_opens_no_other(public: Resources) -> None:
    assert routes(public) == CLOSED | OPEN


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


def test_lists_have_limits_of_their_own_for_everybody(api: Resources, public: Resources) -> None:
    """A stranger, or a loop of ours, cannot take what one partition of the index gives."""
    for plan, keys in ((api, {"GET /images"}), (public, {"GET /images", "GET /public/images"})):
        settings = plan["aws_apigatewayv2_stage.default"]["route_settings"]
        assert {one["route_key"] for one in settings} == keys
        assert {(one["throttling_burst_limit"], one["throttling_rate_limit"]) for one in settings} == {(20, 10)}


def test_the_default_stage_follows_the_routes(api: Resources) -> None:
    stage = api["aws_apigatewayv2_stage.default"]
    assert (stage["name"], stage["auto_deploy"]) == ("$default", True)


def test_every_request_leaves_one_json_object(api: Resources) -> None:
    settings = api["aws_apigatewayv2_stage.default"]["access_log_settings"][0]
    group = "/aws/apigateway/image-pipeline-prod"
    assert settings["destination_arn"] == f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:{group}"
    fields = json.loads(settings["format"])
    assert {"request_id", "route", "status", "response_time", "error", "caller", "source_ip"} <= fields.keys()
    assert all(value.startswith("$context.") for value in fields.values())
    assert api["aws_cloudwatch_log_group.access"]["name"] == group
    assert api["aws_cloudwatch_log_group.access"]["retention_in_days"] == 30


def test_log_line_is_json_whatever_callers_and_functions_write(api: Resources) -> None:
    """API Gateway puts values in without escaping them: `$context.path` is decoded, and may hold a quote."""
    line = api["aws_apigatewayv2_stage.default"]["access_log_settings"][0]["format"]
    assert set(re.findall(r"\$context\.([\w.]+)", line)) <= SAFE


def test_other_origins_may_do_what_the_data_says(api: Resources) -> None:
    cors = api["aws_apigatewayv2_api.images"]["cors_configuration"][0]
    assert cors["allow_origins"] == ["https://gallery.example.com"]
    assert sorted(cors["allow_methods"]) == ["DELETE", "GET"]
    assert {"authorization", "x-amz-date", "x-amz-security-token"} <= set(cors["allow_headers"])
    assert cors["max_age"] == 300
    assert not cors["allow_credentials"]
