provider "aws" {
  region = "eu-west-1"
}

module "registry" {
  source = "../.."

  name                    = "image-pipeline/processor"
  reader_account_ids      = ["111111111111", "222222222222", "333333333333"]
  untagged_retention_days = 14
}

output "repository_arn" {
  description = "For the IAM policies of the reader accounts."
  value       = module.registry.repository_arn
}
