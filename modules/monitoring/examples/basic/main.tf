provider "aws" {
  region = "eu-west-1"
}

module "monitoring" {
  source = "../.."

  account_id  = "333333333333"
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"

  # In a deployment these three are the outputs of the other units, handed on whole.
  api = {
    api_id = "a1b2c3d4e5"
    stage  = "$default"
  }

  functions = {
    announcer = { name = "image-pipeline-prod-announcer" }
    processor = {
      name            = "image-pipeline-prod-processor"
      timeout_seconds = 60
    }
  }

  storage = {
    dead_letter_queue = { name = "image-pipeline-prod-uploads-dlq" }
    queue             = { name = "image-pipeline-prod-uploads" }
    table             = { name = "image-pipeline-prod-images" }
  }

  alarm_emails = ["on-call@example.com"]
  runbook_url  = "https://example.com/runbook"

  thresholds = {
    queue_age_seconds = 300
  }
}

output "dashboard_url" {
  description = "Where to look first."
  value       = module.monitoring.dashboard_url
}
