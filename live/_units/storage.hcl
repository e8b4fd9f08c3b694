# Uploads, variants, records, and the queues between them.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
  own_key = local.context.env.ci_access.customer_managed_key
}

terraform {
  source = format(local.context.module_source, "storage")
}

# Without a key of its own the unit waits for nobody.
dependency "ci_access" {
  config_path = "../ci-access"
  enabled     = local.own_key

  mock_outputs = {
    kms_key_arn = "arn:aws:kms:${local.context.env.region}:000000000000:key/00000000-mock-output"
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

inputs = merge(local.context.env.storage, {
  account_id  = local.context.env.account_id
  kms_key_arn = local.own_key ? dependency.ci_access.outputs.kms_key_arn : ""
  name_prefix = local.context.name_prefix
  region      = local.context.env.region
})
