# Uploads, variants, records, and the queues between them.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
}

terraform {
  source = format(local.context.module_source, "storage")
}

inputs = merge(local.context.env.storage, {
  account_id  = local.context.env.account_id
  name_prefix = local.context.name_prefix
  region      = local.context.env.region
})
