provider "aws" {
  region = "eu-west-1"
}

module "monitoring" {
  source = "../.."

  account_id  = "333333333333"
  api         = local.api
  functions   = local.compute.functions
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"
  runbook_url = "https://github.com/acme/images/blob/main/docs/operations.md"
  storage     = local.storage

  alarm_emails = ["on-call@example.com", "deputy@example.com"]
}

output "topic_arn" {
  description = "Topic for further subscribers, like a chat."
  value       = module.monitoring.topic_arn
}

# Stands for the modules that this one is deployed with.
locals {
  api = {
    api_id = "a1b2c3d4e5"
    stage  = "$default"
  }

  compute = {
    functions = {
      announcer = { name = "image-pipeline-prod-announcer" }
      api       = { name = "image-pipeline-prod-api" }
      processor = { name = "image-pipeline-prod-processor", timeout_seconds = 60 }
    }
  }

  storage = {
    dead_letter_queue = { name = "image-pipeline-prod-uploads-dlq" }
    queue             = { name = "image-pipeline-prod-uploads" }
    table             = { name = "image-pipeline-prod-images", indexes = ["newest", "by-status"] }
  }
}
