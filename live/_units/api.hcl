# The HTTP API in front of the api function.

locals {
  context = read_terragrunt_config("${get_repo_root()}/live/_units/context.hcl").locals
}

terraform {
  source = format(local.context.module_source, "api")
}

dependency "compute" {
  config_path = "../compute"

  mock_outputs = {
    functions = {
      api = {
        name  = "mock-output-api"
        alias = "live"
        invoke_arn = join("", [
          "arn:aws:apigateway:${local.context.env.region}:lambda:path/2015-03-31/functions/",
          "arn:aws:lambda:${local.context.env.region}:000000000000:function:mock-output-api:live/invocations",
        ])
      }
    }
  }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan", "destroy"]
  mock_outputs_merge_strategy_with_state  = "shallow"
}

inputs = merge(local.context.env.api, {
  account_id  = local.context.env.account_id
  function    = dependency.compute.outputs.functions.api
  name_prefix = local.context.name_prefix
  region      = local.context.env.region
})
