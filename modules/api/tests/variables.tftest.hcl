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
  account_id = "333333333333"
  cors       = { allow_origins = ["https://gallery.example.com"], max_age_seconds = 300 }
  function = {
    alias = "live"
    invoke_arn = join("", [
      "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/",
      "arn:aws:lambda:eu-west-1:333333333333:function:image-pipeline-prod-api:live/invocations",
    ])
    name = "image-pipeline-prod-api"
  }
  log_retention_days = 30
  name_prefix        = "image-pipeline-prod"
  region             = "eu-west-1"
  throttling         = { burst_limit = 40, rate_limit = 20 }
}

# account_id must be 12 digits, not '12345'
run "account_id_of_5_digits" {
  command = plan

  variables {
    account_id = "12345"
  }

  expect_failures = [var.account_id]
}

# from 0 to 86400 (a day), not 86401
run "cors_max_age_above_a_day" {
  command = plan

  variables {
    cors = merge(var.cors, { max_age_seconds = 86401 })
  }

  expect_failures = [var.cors]
}

# methods in capitals
run "cors_method_in_small_letters" {
  command = plan

  variables {
    cors = merge(var.cors, { allow_methods = ["get"] })
  }

  expect_failures = [var.cors]
}

# origins without a path
run "cors_origin_with_a_path" {
  command = plan

  variables {
    cors = merge(var.cors, { allow_origins = ["https://example.com/gallery"] })
  }

  expect_failures = [var.cors]
}

# must be the one of the alias and end in :canary/invocations
run "function_address_of_another_alias" {
  command = plan

  variables {
    function = merge(var.function, { alias = "canary" })
  }

  expect_failures = [var.function]
}

# a number of days that CloudWatch knows
run "log_retention_unknown_to_cloudwatch" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

# 3 to 40 lower-case letters, digits and hyphens
run "name_prefix_with_capitals" {
  command = plan

  variables {
    name_prefix = "Image_Pipeline"
  }

  expect_failures = [var.name_prefix]
}

# rate_limit from 1 to 80
run "listing_faster_than_one_partition" {
  command = plan

  variables {
    throttling = merge(var.throttling, { listing = { burst_limit = 100, rate_limit = 100 } })
  }

  expect_failures = [var.throttling]
}

# region must be a region's code, like eu-west-1, not 'Ireland'
run "region_that_is_no_code" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

# burst_limit must be from 1 to 5000 and rate_limit from 1 to 10000, not 0
run "throttling_without_bursts" {
  command = plan

  variables {
    throttling = merge(var.throttling, { burst_limit = 0 })
  }

  expect_failures = [var.throttling]
}
