provider "aws" {
  region = "eu-west-1"
}

module "storage" {
  source = "../.."

  account_id  = "333333333333"
  kms_key_arn = local.ci_access.kms_key_arn
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"
}

output "kms_key_arn" {
  description = "For the roles that read and write."
  value       = module.storage.kms_key_arn
}

# Stands for the module that this one is deployed with.
locals {
  ci_access = {
    kms_key_arn = "arn:aws:kms:eu-west-1:333333333333:key/5b1c2f0e-8b54-4a6e-9d6c-6d2c3a1f0e11"
  }
}
