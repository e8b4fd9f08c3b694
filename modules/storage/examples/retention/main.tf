provider "aws" {
  region = "eu-west-1"
}

module "storage" {
  source = "../.."

  account_id  = "333333333333"
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"

  expiry = {
    incomplete_upload_days  = 3
    noncurrent_version_days = 365
    test_data_days          = 1
  }

  queue = {
    dead_letter_retention_days = 14
    max_receive_count          = 10
    retention_days             = 7
    visibility_timeout_seconds = 1800 # six times a timeout of 300 s
  }
}
