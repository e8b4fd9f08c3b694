# Facts about a unit's environment: read by the root and by every unit definition beside this file.

locals {
  project = jsondecode(file(mark_as_read("${get_repo_root()}/live/project.json"))).name

  repository = get_repo_root()
  directory  = dirname(get_original_terragrunt_dir())
  env_file   = "${local.directory}/env.hcl"

  # `terragrunt find` or `hcl validate` in the repository's top reads the root by itself, outside any environment.
  env = read_terragrunt_config(local.env_file, {
    locals = { environment = "none", account_id = "", region = "" }
  }).locals

  # A name that no module and no command reads is refused here, before any plan. A new setting is declared as a variable
  # of its module or as a field in src/imagepipe/live/environments.py; `make generate` then writes the schema.
  misspelt = local.env.environment == "none" ? "" : run_cmd(
    "--terragrunt-quiet",
    "${local.repository}/scripts/check_settings.py",
    "${local.repository}/live/settings.schema.json",
    "live/${local.env.environment}/env.hcl",
    jsonencode(local.env),
  )
  # Terragrunt has no way to fail with a message but a command that fails: it prints the command's arguments.
  refused = local.misspelt == "" ? "" : run_cmd("--terragrunt-quiet", "false", local.misspelt)

  name_prefix = "${local.project}-${local.env.environment}"

  # One state bucket per account and region; environments that share an account share the bucket, never a key.
  state_bucket = "${local.project}-tfstate-${local.env.account_id}-${local.env.region}"
  lock_table   = "${local.project}-tflock"

  # A promotion changes release.json. `worktree` means the modules and the image of this checkout.
  release_file = "${local.directory}/release.json"
  release = jsondecode(
    fileexists(local.release_file)
    ? file(mark_as_read(local.release_file))
    : jsonencode({ modules = "worktree", image = "worktree" })
  )

  # A ref is one of this repository: no module registry, no URL to edit, no network.
  module_source = (
    local.release.modules == "worktree"
    ? "${local.repository}/modules//%s"
    : "git::file://${local.repository}//modules/%s?ref=${local.release.modules}"
  )

  # The only registry, in the shared account. Its address is data, so that no environment reads another account's state.
  registry         = read_terragrunt_config("${local.repository}/live/shared/env.hcl").locals
  registry_host    = "${local.registry.account_id}.dkr.ecr.${local.registry.region}.amazonaws.com"
  image_repository = "${local.project}/processor"
  built_image_file = "${local.repository}/build/image.json"
  image_digest = (
    local.release.image == "worktree"
    ? try(jsondecode(file(local.built_image_file)).digest, "not-built")
    : local.release.image
  )
  # Platform of the image; empty before the first build, and for a release that was written by hand.
  image_platform = (
    local.release.image == "worktree"
    ? try(jsondecode(file(local.built_image_file)).platform, "")
    : try(local.release.build.platform, "")
  )
  image_uri = "${local.registry_host}/${local.image_repository}@${local.image_digest}"
}
