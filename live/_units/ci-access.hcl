# Who may deploy from CI: the roles of workflows, and the boundary of every role that they make. An administrator applies it.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals

  # The repository on GitHub whose workflows deploy. Nobody can have an account of the name that stands there at first.
  github = jsondecode(file(mark_as_read("${get_repo_root()}/live/github.json")))
}

terraform {
  source = format(local.context.module_source, "ci-access")
}

inputs = merge(local.context.env.ci_access, {
  account_id  = local.context.env.account_id
  environment = local.context.env.environment
  github      = local.github
  name_prefix = local.context.name_prefix
  region      = local.context.env.region

  registry = {
    account_id = local.context.registry.account_id
    manage     = local.context.env.environment == "shared"
    name       = local.context.image_repository
  }

  state = {
    bucket     = local.context.state_bucket
    lock_table = local.context.lock_table
    prefix     = "live/${local.context.env.environment}"
  }
})
