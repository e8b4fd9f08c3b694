provider "aws" {
  region = "eu-west-1"
}

module "storage" {
  source = "../.."

  account_id  = "333333333333"
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"
}

output "upload_bucket_name" {
  description = "Bucket to upload images to."
  value       = module.storage.upload_bucket_name
}
