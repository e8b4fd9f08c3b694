# The functions, all from one image: what makes the variants, and what answers the API.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
}

terraform {
  source = format(local.context.module_source, "compute")
}

dependency "storage" {
  config_path = "../storage"

  mock_outputs = {
    upload_bucket     = { name = "mock-output-uploads", arn = "arn:aws:s3:::mock-output-uploads" }
    processed_bucket  = { name = "mock-output-processed", arn = "arn:aws:s3:::mock-output-processed" }
    queue             = { name = "mock-output", arn = "arn:aws:sqs:${local.context.env.region}:000000000000:mock-output", url = "https://mock-output.invalid/queue", visibility_timeout_seconds = 43200, max_receive_count = 5 }
    backfill_queue    = { name = "mock-output-backfill", arn = "arn:aws:sqs:${local.context.env.region}:000000000000:mock-output-backfill", url = "https://mock-output.invalid/backfill" }
    dead_letter_queue = { name = "mock-output-dlq", arn = "arn:aws:sqs:${local.context.env.region}:000000000000:mock-output-dlq", url = "https://mock-output.invalid/dlq" }
    table             = { name = "mock-output", arn = "arn:aws:dynamodb:${local.context.env.region}:000000000000:table/mock-output", stream_arn = "arn:aws:dynamodb:${local.context.env.region}:000000000000:table/mock-output/stream/mock", indexes = ["newest", "by-status"] }
    kms_key_arn       = null
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "ci_access" {
  config_path = "../ci-access"

  mock_outputs = {
    permissions_boundary_arn = "arn:aws:iam::000000000000:policy/mock-output-boundary"
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

inputs = merge(local.context.env.compute, {
  account_id     = local.context.env.account_id
  image_platform = local.context.image_platform
  image_uri      = local.context.image_uri
  name_prefix    = local.context.name_prefix
  region         = local.context.env.region
  storage        = dependency.storage.outputs

  permissions_boundary_arn = dependency.ci_access.outputs.permissions_boundary_arn
})
