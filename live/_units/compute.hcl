# The functions that make variants, announce outcomes and answer the API, all from one image.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals

  mock_queues = "arn:aws:sqs:${local.context.env.region}:000000000000"
  mock_table  = "arn:aws:dynamodb:${local.context.env.region}:000000000000:table/mock-output"
}

terraform {
  source = format(local.context.module_source, "compute")
}

dependency "storage" {
  config_path = "../storage"

  mock_outputs = {
    kms_key_arn      = null
    processed_bucket = { name = "mock-output-processed", arn = "arn:aws:s3:::mock-output-processed" }
    upload_bucket    = { name = "mock-output-uploads", arn = "arn:aws:s3:::mock-output-uploads" }

    backfill_queue = {
      arn = "${local.mock_queues}:mock-output-backfill"
      url = "https://mock-output.invalid/backfill"
    }

    queue = {
      arn                        = "${local.mock_queues}:mock-output"
      max_receive_count          = 5
      url                        = "https://mock-output.invalid/queue"
      visibility_timeout_seconds = 360
    }

    table = {
      arn        = local.mock_table
      indexes    = ["newest", "by-status"]
      name       = "mock-output"
      stream_arn = "${local.mock_table}/stream/mock"
    }
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "ci_access" {
  config_path = "../ci-access"

  mock_outputs = {
    function_role_arns = {
      for function in ["announcer", "api", "processor"] :
      function => "arn:aws:iam::000000000000:role/mock-output-${function}"
    }
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
  role_arns      = dependency.ci_access.outputs.function_role_arns

  # The queue as it will be, not as it is: what its times break is refused before anything is applied.
  storage = merge(dependency.storage.outputs, {
    queue = merge(dependency.storage.outputs.queue, {
      for name, value in try(local.context.env.storage.queue, {}) : name => value
      if contains(["max_receive_count", "visibility_timeout_seconds"], name)
    })
  })
})
