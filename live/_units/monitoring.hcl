# Dashboard, alarms, and the topic that carries them.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
  github  = jsondecode(file(mark_as_read("${get_repo_root()}/live/github.json")))
}

terraform {
  source = format(local.context.module_source, "monitoring")
}

dependency "storage" {
  config_path = "../storage"

  mock_outputs = {
    queue             = { name = "mock-output" }
    dead_letter_queue = { name = "mock-output-dlq" }
    table             = { name = "mock-output", indexes = ["newest", "by-status"] }
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "compute" {
  config_path = "../compute"

  mock_outputs = {
    functions = {
      announcer = { name = "mock-output-announcer" }
      processor = { name = "mock-output-processor", timeout_seconds = 60 }
      api       = { name = "mock-output-api", timeout_seconds = 10 }
    }
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

dependency "api" {
  config_path = "../api"

  mock_outputs = {
    api_id = "mock-output"
    stage  = "$default"
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

inputs = merge(local.context.env.monitoring, {
  account_id  = local.context.env.account_id
  api         = dependency.api.outputs
  functions   = dependency.compute.outputs.functions
  name_prefix = local.context.name_prefix
  region      = local.context.env.region
  runbook_url = "https://github.com/${local.github.repository}/blob/main/docs/operations.md"
  storage     = dependency.storage.outputs
})
