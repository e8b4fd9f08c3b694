provider "aws" {
  region = "eu-west-1"
}

module "ci_access" {
  source = "../.."

  account_id  = "111111111111"
  api_ids     = ["a1b2c3d4e5"]
  environment = "dev"
  erasable    = true
  github      = { repository = "acme/images", owner_id = "1234", repository_id = "5678" }
  name_prefix = "image-pipeline-dev"
  region      = "eu-west-1"
  registry    = { account_id = "444444444444", name = "image-pipeline/processor" }

  state = {
    bucket     = "image-pipeline-tfstate-111111111111-eu-west-1"
    lock_table = "image-pipeline-tflock"
    prefix     = "live/dev"
  }
}

output "plan_role_arn" {
  description = "Role for the workflow that plans."
  value       = module.ci_access.plan_role_arn
}
