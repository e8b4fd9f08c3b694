provider "aws" {
  region = "eu-west-1"
}

module "storage" {
  source = "../.."

  account_id  = "333333333333"
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"

  deletion_protection = true

  expiry = {
    noncurrent_version_days = 90
  }

  queue = {
    max_receive_count          = 5
    visibility_timeout_seconds = 360
  }
}

output "upload_bucket_name" {
  description = "Bucket to upload images to."
  value       = module.storage.upload_bucket_name
}
