provider "aws" {
  region = "eu-west-1"
}

module "storage" {
  source = "../.."

  account_id           = "333333333333"
  customer_managed_key = true
  name_prefix          = "image-pipeline-prod"
  region               = "eu-west-1"
}

output "kms_key_arn" {
  description = "For the roles that read and write."
  value       = module.storage.kms_key_arn
}
