provider "aws" {
  region = "eu-west-1"
}

module "api" {
  source = "../.."

  account_id         = "333333333333"
  cors               = { allow_origins = ["https://gallery.example.com"] }
  function           = local.compute.functions.api
  log_retention_days = 365
  name_prefix        = "image-pipeline-prod"
  public_reading     = true
  region             = "eu-west-1"
  throttling         = { burst_limit = 200, rate_limit = 100 }
}

# Stands for the modules that this one is deployed with.
locals {
  compute = {
    functions = {
      api = {
        alias = "live"
        name  = "image-pipeline-prod-api"
        invoke_arn = join("", [
          "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/",
          "arn:aws:lambda:eu-west-1:333333333333:function:image-pipeline-prod-api:live/invocations",
        ])
      }
    }
  }
}
