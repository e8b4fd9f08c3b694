provider "aws" {
  region = "eu-west-1"
}

module "registry" {
  source = "../.."

  name                    = "image-pipeline/processor"
  reader_account_ids      = ["111111111111"]
  untagged_retention_days = 14
}

output "repository_url" {
  description = "URL to push images to."
  value       = module.registry.repository_url
}
