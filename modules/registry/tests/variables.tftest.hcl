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
  name                    = "image-pipeline/processor"
  reader_account_ids      = ["111111111111", "222222222222"]
  untagged_retention_days = 21
}

# name must be lower-case letters and digits
run "name_with_a_space" {
  command = plan

  variables {
    name = "Image Pipeline"
  }

  expect_failures = [var.name]
}

# accounts of 12 digits, not
run "reader_account_of_3_digits" {
  command = plan

  variables {
    reader_account_ids = ["111"]
  }

  expect_failures = [var.reader_account_ids]
}

# untagged_retention_days must be a whole number from 1, not 0
run "untagged_retention_of_zero_days" {
  command = plan

  variables {
    untagged_retention_days = 0
  }

  expect_failures = [var.untagged_retention_days]
}
