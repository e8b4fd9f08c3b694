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
  account_id  = "333333333333"
  expiry      = { incomplete_upload_days = 3, noncurrent_version_days = 90, test_data_days = 2 }
  name_prefix = "image-pipeline-prod"
  queue = {
    dead_letter_retention_days = 14
    max_receive_count          = 4
    retention_days             = 5
    visibility_timeout_seconds = 720
  }
  region = "eu-west-1"
}

# account_id must be 12 digits, not '12345'
run "account_id_of_5_digits" {
  command = plan

  variables {
    account_id = "12345"
  }

  expect_failures = [var.account_id]
}

# messages can be kept from 1 to 14 days, not 5 and 15
run "dead_letters_kept_above_14_days" {
  command = plan

  variables {
    queue = merge(var.queue, { dead_letter_retention_days = 15 })
  }

  expect_failures = [var.queue]
}

# must be more than queue.retention_days (5), not 5
run "dead_letters_kept_no_longer_than_messages" {
  command = plan

  variables {
    queue = merge(var.queue, { dead_letter_retention_days = 5 })
  }

  expect_failures = [var.queue]
}

# each number of days must be a whole number of at least 1
run "expiry_of_half_a_day" {
  command = plan

  variables {
    expiry = merge(var.expiry, { test_data_days = 0.5 })
  }

  expect_failures = [var.expiry]
}

# the ARN of a key, or empty, not 'alias/storage'
run "key_by_its_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/storage"
  }

  expect_failures = [var.kms_key_arn]
}

# queue.max_receive_count must be from 4 to 1000, not 3
run "max_receive_count_too_small" {
  command = plan

  variables {
    queue = merge(var.queue, { max_receive_count = 3 })
  }

  expect_failures = [var.queue]
}

# at most 63 characters to be a bucket name
run "name_prefix_too_long_for_buckets" {
  command = plan

  variables {
    name_prefix = "image-pipeline-of-the-second-floor"
  }

  expect_failures = [var.name_prefix]
}

# 3 to 40 lower-case letters, digits and hyphens
run "name_prefix_with_capitals" {
  command = plan

  variables {
    name_prefix = "Image_Pipeline"
  }

  expect_failures = [var.name_prefix]
}

# region must be a region's code, like eu-west-1, not 'Ireland'
run "region_that_is_no_code" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

# from 1 to 43200 (12 hours), not 43201
run "visibility_timeout_above_12_hours" {
  command = plan

  variables {
    queue = merge(var.queue, { visibility_timeout_seconds = 43201 })
  }

  expect_failures = [var.queue]
}
