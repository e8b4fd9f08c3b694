provider "aws" {
  region = "eu-west-1"
}

module "api" {
  source = "../.."

  account_id         = "111111111111"
  cors               = { allow_origins = ["https://gallery.example.com"] }
  function           = local.compute.functions.api
  log_retention_days = 7
  name_prefix        = "image-pipeline-dev"
  region             = "eu-west-1"

  throttling = {
    burst_limit = 20
    rate_limit  = 10
    listing     = { burst_limit = 2, rate_limit = 1 }
  }
}

# Stands for the modules that this one is deployed with.
locals {
  compute = {
    functions = {
      api = {
        alias = "live"
        name  = "image-pipeline-dev-api"
        invoke_arn = join("", [
          "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/",
          "arn:aws:lambda:eu-west-1:111111111111:function:image-pipeline-dev-api:live/invocations",
        ])
      }
    }
  }
}
