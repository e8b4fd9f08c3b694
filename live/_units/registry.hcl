# The only image registry. Environments of every account pull from it by digest.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals

  environments = [
    for file in sort(fileset("${local.context.repository}/live", "*/release.json")) :
    read_terragrunt_config("${local.context.repository}/live/${dirname(file)}/env.hcl").locals
  ]
}

terraform {
  source = format(local.context.module_source, "registry")
}

inputs = merge(local.context.env.registry, {
  name               = local.context.image_repository
  reader_account_ids = distinct(local.environments[*].account_id)
})
