# Roles of the workflows that deploy, and the boundary of every role that they create. An administrator applies it.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals

  # The repository whose workflows deploy. The placeholder contains "--", which GitHub forbids in account names, so
  # nobody can claim it.
  github = jsondecode(file(mark_as_read("${get_repo_root()}/live/github.json")))

  # An environment without storage, the shared one, has neither functions nor an API.
  serves = can(local.context.env.storage)
}

terraform {
  source = format(local.context.module_source, "ci-access")
}

inputs = merge(local.context.env.ci_access, {
  account_id  = local.context.env.account_id
  environment = local.context.env.environment
  erasable    = try(local.context.env.storage.force_destroy, false)
  find_api    = local.serves
  github      = local.github
  name_prefix = local.context.name_prefix
  region      = local.context.env.region

  functions = local.serves ? ["announcer", "api", "processor"] : []

  registry = {
    account_id = local.context.registry.account_id
    erasable   = try(local.context.env.registry.force_destroy, false)
    manage     = local.context.env.environment == "shared"
    name       = local.context.image_repository
  }

  state = {
    bucket     = local.context.state_bucket
    lock_table = local.context.lock_table
    prefix     = "live/${local.context.env.environment}"
  }
})
