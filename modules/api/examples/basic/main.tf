provider "aws" {
  region = "eu-west-1"
}

module "api" {
  source = "../.."

  account_id         = "333333333333"
  log_retention_days = 365
  name_prefix        = "image-pipeline-prod"
  region             = "eu-west-1"

  # In a deployment: module.compute.functions.api, or the output of that unit.
  function = {
    alias      = "live"
    invoke_arn = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:333333333333:function:image-pipeline-prod-api:live/invocations"
    name       = "image-pipeline-prod-api"
  }

  cors = {
    allow_origins = ["https://gallery.example.com"]
  }

  throttling = {
    burst_limit = 200
    rate_limit  = 100
  }
}

output "api_url" {
  description = "Where to send requests."
  value       = module.api.api_url
}
