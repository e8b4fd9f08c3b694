# The only image registry. Environments of every account pull from it by digest.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals

  environments = [
    for file in sort(fileset("${local.context.repository}/live", "*/release.json")) :
    read_terragrunt_config("${local.context.repository}/live/${dirname(file)}/env.hcl").locals
  ]

  # Account ids of one repeated digit are placeholders until somebody writes their own. An account that is not ours must
  # not read images. In a rehearsal the registry's own account is a placeholder too, and all others are as real.
  accounts  = distinct(local.environments[*].account_id)
  rehearsal = length(distinct(split("", local.context.registry.account_id))) == 1
  readers   = [for id in local.accounts : id if local.rehearsal || length(distinct(split("", id))) > 1]
}

terraform {
  source = format(local.context.module_source, "registry")
}

inputs = merge(local.context.env.registry, {
  name               = local.context.image_repository
  reader_account_ids = coalescelist(local.readers, [local.context.registry.account_id])
})
