# What every unit has in common: where its state lives, which provider in which account, which versions.
# A unit under live/ includes this file and its definition in live/_units; its environment's data is in live/<env>/env.hcl.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
  env     = local.context.env
  tools   = jsondecode(file(mark_as_read("${get_repo_root()}/tools.json")))

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

# The lock is in DynamoDB. Terraform 1.11 calls dynamodb_table deprecated: the day it goes, use_lockfile = true takes its place.
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

# Modules accept a range of provider versions; what is deployed is exactly one. It stands here and not in lock files,
# which would have to be kept alike in every unit and would hold checksums of the author's platform only.
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

terraform {
  copy_terraform_lock_file = false

  # Examples call their module, and Terragrunt, which sees a call somewhere below, would run init before every command.
  # What tests a module is no part of it.
  exclude_from_copy = ["**/examples/**", "**/tests/**"]

  extra_arguments "wait_for_lock" {
    commands  = ["apply", "destroy", "plan"]
    arguments = ["-lock-timeout=5m"]
  }

  # A plan of a unit whose dependencies are not there yet is made with mock outputs, to be read. Saved, it would carry them:
  # Terraform asks nobody for inputs when it applies a plan file.
  before_hook "refuse_mock_outputs" {
    commands = ["apply"]
    execute  = concat(["${get_repo_root()}/scripts/refuse_mock_outputs.sh"], get_terraform_cli_args())
  }
}

# `run --all` in the repository's top finds this file too and would take it for a unit of its own.
exclude {
  if      = path_relative_to_include() == "."
  actions = ["all"]
  no_run  = true
}
