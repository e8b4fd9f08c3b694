# Values that the module refuses. Each message holds the words above its run: tests/modules checks that, too.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id   = "333333333333"
  alarm_emails = ["on-call@example.com", "deputy@example.com"]
  api          = { api_id = "a1b2c3d4e5", stage = "$default" }
  functions = {
    announcer = { name = "image-pipeline-prod-announcer" }
    api       = { name = "image-pipeline-prod-api" }
    processor = { name = "image-pipeline-prod-processor", timeout_seconds = 60 }
  }
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"
  runbook_url = "https://example.com/runbook"
  storage = {
    dead_letter_queue = { name = "image-pipeline-prod-uploads-dlq" }
    queue             = { name = "image-pipeline-prod-uploads" }
    table             = { name = "image-pipeline-prod-images", indexes = ["newest", "by-status"] }
  }
  thresholds = {
    announcer_age_seconds    = 600
    api_latency_ms           = 1500
    processor_duration_share = 0.75
    queue_age_seconds        = 300
  }
}

# account_id must be 12 digits, not '12345'
run "account_id_of_5_digits" {
  command = plan

  variables {
    account_id = "12345"
  }

  expect_failures = [var.account_id]
}

# alarm_emails must be like on-call@example.com
run "alarm_email_that_is_no_address" {
  command = plan

  variables {
    alarm_emails = ["on-call"]
  }

  expect_failures = [var.alarm_emails]
}

# less than 86400, when the stream drops records, not 86400
run "announcer_age_of_a_day" {
  command = plan

  variables {
    thresholds = merge(var.thresholds, { announcer_age_seconds = 86400 })
  }

  expect_failures = [var.thresholds]
}

# from 1 to 30000, when API Gateway gives up, not 30001
run "api_latency_above_the_gateways_limit" {
  command = plan

  variables {
    thresholds = merge(var.thresholds, { api_latency_ms = 30001 })
  }

  expect_failures = [var.thresholds]
}

# 3 to 40 lower-case letters, digits and hyphens
run "name_prefix_with_capitals" {
  command = plan

  variables {
    name_prefix = "Image_Pipeline"
  }

  expect_failures = [var.name_prefix]
}

# between 0 and 1, a share of the timeout, not 80
run "processor_duration_in_percent" {
  command = plan

  variables {
    thresholds = merge(var.thresholds, { processor_duration_share = 80 })
  }

  expect_failures = [var.thresholds]
}

# at least 60, the time between two measurements, not 30
run "queue_age_below_a_minute" {
  command = plan

  variables {
    thresholds = merge(var.thresholds, { queue_age_seconds = 30 })
  }

  expect_failures = [var.thresholds]
}

# region must be a region's code, like eu-west-1, not 'Ireland'
run "region_that_is_no_code" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

# an https URL without '#'
run "runbook_url_that_is_a_path" {
  command = plan

  variables {
    runbook_url = "docs/operations.md"
  }

  expect_failures = [var.runbook_url]
}

# an https URL without '#'
run "runbook_url_with_a_section" {
  command = plan

  variables {
    runbook_url = "https://example.com/runbook#top"
  }

  expect_failures = [var.runbook_url]
}
