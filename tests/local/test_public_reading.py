"""The API's module, applied: closed as it comes, and with `public_reading`."""

import json
from pathlib import Path

import boto3
import pytest

from .conftest import ACCOUNT, REGION, Cloud, call, terraform, write_configuration

ROOT = Path(__file__).resolve().parents[2]

VIEW = """
def handler(event, context):
    signed = "authorizer" in event["requestContext"]
    return {"statusCode": 200, "body": f"{event['routeKey']} signed: {signed}"}
"""


@pytest.fixture(scope="module")
def folder(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    arn = cloud.add_function("views", VIEW, Publish=True)
    cloud.client("lambda").create_alias(FunctionName="views", Name="live", FunctionVersion="1")
    address = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{arn}:live/invocations"
    module = f"""
        variable "public" {{
          type = bool
        }}
        module "api" {{
          source             = "{ROOT}/modules/api"
          account_id         = "{ACCOUNT}"
          cors               = {{ allow_origins = ["*"] }}
          function           = {{ alias = "live", invoke_arn = "{address}", name = "views" }}
          log_retention_days = 7
          name_prefix        = "views"
          public_reading     = var.public
          region             = "{REGION}"
          throttling         = {{ burst_limit = 20, rate_limit = 10 }}
        }}
        """
    folder = tmp_path_factory.mktemp("terraform") / "views"
    write_configuration(module, folder)
    assert terraform(cloud, folder, "init") == 0
    return folder


def apply(cloud: Cloud, folder: Path, *, public: bool) -> str:
    """Applies the module and plans it again without changes; returns the path form of the API's address."""
    setting = f"-var=public={json.dumps(public)}"
    assert terraform(cloud, folder, "apply", "-auto-approve", setting) == 0
    assert terraform(cloud, folder, "plan", "-detailed-exitcode", setting) == 0
    (api,) = (api for api in cloud.client("apigatewayv2").get_apis()["Items"] if api["Name"] == "views")
    return f"{cloud.local.endpoint}/_aws/execute-api/{api['ApiId']}/$default"


def test_public_reading_opens_its_own_routes_and_closes_them_again(cloud: Cloud, folder: Path) -> None:
    me = boto3.Session(ACCOUNT, "local").get_credentials()
    paths = ("/images", "/health", "/public/images")

    api = apply(cloud, folder, public=True)
    opened = {path: call(cloud, "GET", api + path).status for path in paths}
    assert opened == {"/images": 403, "/health": 200, "/public/images": 200}
    assert call(cloud, "GET", f"{api}/images", me).data == b"GET /images signed: True"
    # A signature is not looked at where none is needed: that is why strangers have routes of their own.
    assert call(cloud, "GET", f"{api}/public/images", me).data == b"GET /public/images signed: False"

    api = apply(cloud, folder, public=False)
    closed = {path: call(cloud, "GET", api + path).status for path in paths}
    assert closed == {"/images": 403, "/health": 403, "/public/images": 404}
    assert call(cloud, "GET", f"{api}/health", me).data == b"GET /health signed: True"
