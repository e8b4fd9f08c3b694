provider "aws" {
  region = "eu-west-1"
}

module "ci_access" {
  source = "../.."

  account_id           = "111111111111"
  create_oidc_provider = false
  environment          = "staging"
  github               = { repository = "acme/images", owner_id = "1234", repository_id = "5678" }
  name_prefix          = "image-pipeline-staging"
  region               = "eu-west-1"
  registry             = { account_id = "444444444444", name = "image-pipeline/processor" }

  state = {
    bucket     = "image-pipeline-tfstate-111111111111-eu-west-1"
    lock_table = "image-pipeline-tflock"
    prefix     = "live/staging"
  }
}

output "function_role_arns" {
  description = "For the compute module."
  value       = module.ci_access.function_role_arns
}
