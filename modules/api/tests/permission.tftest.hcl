# Who may call the function. A plan does not know the id of a new API, so this test sets one.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

override_resource {
  target          = aws_apigatewayv2_api.images
  override_during = plan

  values = {
    execution_arn = "arn:aws:execute-api:eu-west-1:333333333333:a1b2c3d4e5"
    id            = "a1b2c3d4e5"
  }
}

variables {
  account_id         = "333333333333"
  cors               = { allow_origins = ["https://gallery.example.com"] }
  function           = { alias = "live", invoke_arn = "arn:aws:apigateway:a:live/invocations", name = "api" }
  log_retention_days = 30
  name_prefix        = "image-pipeline-prod"
  region             = "eu-west-1"
  throttling         = { burst_limit = 40, rate_limit = 20 }
}

run "only_this_api_may_call_the_alias" {
  command = plan

  plan_options {
    refresh = false
  }

  assert {
    condition     = aws_lambda_permission.api.source_arn == "arn:aws:execute-api:eu-west-1:333333333333:a1b2c3d4e5/*"
    error_message = "The permission is for ${aws_lambda_permission.api.source_arn}."
  }

  assert {
    condition     = aws_lambda_permission.api.qualifier == "live"
    error_message = "The permission is for version ${aws_lambda_permission.api.qualifier}."
  }
}
