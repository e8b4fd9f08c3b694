# What every unit has in common: location of its state, provider and account, versions.
# A unit under live/ includes this file and its definition in live/_units; the data of its environment is in
# live/<env>/env.hcl.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
  env     = local.context.env
  tools   = jsondecode(file(mark_as_read("${get_repo_root()}/tools.json")))

  # setup writes the second where the first has no hash of the machine's platform.
  lock       = file(mark_as_read("${get_repo_root()}/provider.lock.hcl"))
  local_lock = "${get_repo_root()}/.tools/provider.lock.hcl"

  tags = {
    Project     = local.context.project
    Environment = local.env.environment
    ManagedBy   = "terragrunt"
    Unit        = path_relative_to_include()
  }
}

terraform_binary              = "terraform"
terraform_version_constraint  = ">= ${local.tools.terraform.minimum}, < ${local.tools.terraform.below}"
terragrunt_version_constraint = ">= 0.89, < 2.0"

# The lock is in DynamoDB. Terraform 1.11 calls dynamodb_table deprecated; when it is removed, set use_lockfile = true.
remote_state {
  backend = "s3"
  generate = {
    path      = "backend.tf"
    if_exists = "overwrite_terragrunt"
  }
  config = {
    bucket                         = local.context.state_bucket
    key                            = "${path_relative_to_include()}/terraform.tfstate"
    region                         = local.env.region
    encrypt                        = true
    bucket_sse_algorithm           = "AES256"
    dynamodb_table                 = local.context.lock_table
    enable_lock_table_ssencryption = true
  }
}

generate "provider" {
  path      = "provider.tf"
  if_exists = "overwrite_terragrunt"
  contents  = <<-EOF
    provider "aws" {
      region              = "${local.env.region}"
      allowed_account_ids = ["${local.env.account_id}"]

      default_tags {
        tags = ${jsonencode(local.tags)}
      }
    }
  EOF
}

# Modules accept a range of provider versions; a deployment uses exactly one, by version and by content.
generate "versions" {
  path      = "versions_override.tf"
  if_exists = "overwrite_terragrunt"
  contents  = <<-EOF
    terraform {
      required_providers {
        aws = {
          source  = "hashicorp/aws"
          version = "${local.tools["terraform-provider-aws"]}"
        }
      }
    }
  EOF
}

generate "provider_lock" {
  path              = ".terraform.lock.hcl"
  if_exists         = "overwrite"
  disable_signature = true # Terraform compares the file as it is
  contents          = fileexists(local.local_lock) ? file(local.local_lock) : local.lock
}

terraform {
  copy_terraform_lock_file = false

  # A provider that the lock file does not hold, or one with other bytes, ends here.
  extra_arguments "locked_providers" {
    commands  = ["init"]
    arguments = ["-lockfile=readonly"]
  }

  # Neither is part of the module. Terragrunt would take an example's call for a dependency and run init each time.
  exclude_from_copy = ["**/examples/**", "**/tests/**"]

  extra_arguments "wait_for_lock" {
    commands  = ["apply", "destroy", "plan"]
    arguments = ["-lock-timeout=5m"]
  }

  # A plan of a unit whose dependencies are not deployed yet uses mock outputs, for reading only. A saved plan would
  # carry them into apply: Terraform takes the inputs of a plan file from the file.
  before_hook "refuse_mock_outputs" {
    commands = ["apply"]
    execute  = concat(["${get_repo_root()}/scripts/refuse_mock_outputs.sh"], get_terraform_cli_args())
  }
}

# `run --all` in the repository's top would take this file for a unit.
exclude {
  if      = path_relative_to_include() == "."
  actions = ["all"]
  no_run  = true
}
