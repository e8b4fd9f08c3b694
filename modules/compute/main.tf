# The functions that make variants, announce outcomes and answer the API: one image, the command decides.

data "aws_partition" "current" {}

locals {
  image_digest = split("@", var.image_uri)[1]
  platform     = { arm64 = "linux/arm64", x86_64 = "linux/amd64" }[var.architecture]

  functions = {
    announcer = {
      command              = ["image_processor.handlers.stream.announce"]
      memory_mb            = 256
      timeout_seconds      = 60
      ephemeral_storage_mb = 512
      reserved_concurrency = null

      environment = {
        EVENT_BUS = aws_cloudwatch_event_bus.images.name
      }
    }

    api = {
      command              = ["image_processor.handlers.http.api"]
      memory_mb            = var.api.memory_mb
      timeout_seconds      = var.api.timeout_seconds
      ephemeral_storage_mb = 512
      reserved_concurrency = var.api.reserved_concurrency

      environment = {
        URL_TTL_SECONDS = var.api.url_ttl_seconds
      }
    }

    processor = {
      command              = ["image_processor.handlers.queue.process"]
      memory_mb            = var.processor.memory_mb
      timeout_seconds      = var.processor.timeout_seconds
      ephemeral_storage_mb = var.processor.ephemeral_storage_mb
      reserved_concurrency = null # its mappings bound it

      environment = {
        IMAGE_DIGEST               = local.image_digest
        LIMITS                     = local.settings.limits
        MAX_RECEIVE_COUNT          = var.storage.queue.max_receive_count
        QUEUE_URLS                 = jsonencode(local.queue_urls)
        VISIBILITY_TIMEOUT_SECONDS = var.storage.queue.visibility_timeout_seconds
        RECIPE                     = local.settings.recipe
      }
    }
  }

  queue_urls      = { for queue in [var.storage.backfill_queue, var.storage.queue] : queue.arn => queue.url }
  event_bus_name  = "${var.name_prefix}-images"
  function_names  = { for function in keys(local.functions) : function => "${var.name_prefix}-${function}" }
  role_names      = { for function, arn in var.role_arns : function => reverse(split("/", arn))[0] }
  log_group_names = { for function, name in local.function_names : function => "/aws/lambda/${name}" }

  # Settings that are null are left out, at any depth: the processor's own defaults stay the only ones, and the
  # environment stays small. A name within a string has its quotes escaped, so no value is taken for a name.
  settings = {
    for name, setting in { limits = var.processor.limits, recipe = var.processor.recipe } :
    name => setting == null ? null : replace(
      replace(jsonencode(setting), "/,\"[a-z_]+\":null/", ""), "/\\{\"[a-z_]+\":null,?/", "{"
    )
  }

  environments = {
    for function, settings in local.functions : function => {
      for name, value in merge(settings.environment, {
        LOG_LEVEL         = var.log_level
        METRICS_NAMESPACE = var.name_prefix
        PROCESSED_BUCKET  = var.storage.processed_bucket.name
        SERVICE_NAME      = function
        TABLE_NAME        = var.storage.table.name
        UPLOAD_BUCKET     = var.storage.upload_bucket.name
      }) : name => tostring(value) if value != null
    }
  }
}

# Lambda would create a group that keeps logs for ever.
resource "aws_cloudwatch_log_group" "function" {
  for_each = local.log_group_names

  name              = each.value
  retention_in_days = var.log_retention_days
}

resource "aws_lambda_function" "function" {
  for_each = local.functions

  function_name = local.function_names[each.key]
  role          = var.role_arns[each.key]
  package_type  = "Image"
  image_uri     = var.image_uri
  architectures = [var.architecture]
  memory_size   = each.value.memory_mb
  timeout       = each.value.timeout_seconds
  publish       = true

  reserved_concurrent_executions = each.value.reserved_concurrency

  image_config {
    command = each.value.command
  }

  ephemeral_storage {
    size = each.value.ephemeral_storage_mb
  }

  environment {
    variables = local.environments[each.key]
  }

  # Lines are JSON already, metrics among them: Lambda passes them on as they are and filters none by level.
  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.function[each.key].name
  }

  # A function that starts without its permissions fails its first messages.
  depends_on = [aws_iam_role_policy.function]

  lifecycle {
    # Lambda accepts an image of the wrong platform and fails every start of it.
    precondition {
      condition = contains(["", local.platform], var.image_platform)
      error_message = join(" ", [
        "The image is for ${var.image_platform}, but architecture ${var.architecture} runs ${local.platform}:",
        "build it with PLATFORM=${local.platform}, or change compute.architecture in env.hcl.",
      ])
    }

    precondition {
      condition     = length(local.problems[each.key]) == 0
      error_message = join("\n", local.problems[each.key])
    }
  }
}

# Callers know this name only. It stands for one published version, code and configuration together. During a rollout it
# stands for two: the one that is held, and the newest with a share of the calls.
resource "aws_lambda_alias" "live" {
  for_each = aws_lambda_function.function

  name             = "live"
  function_name    = each.value.function_name
  function_version = lookup(var.canary.held_versions, each.key, each.value.version)

  dynamic "routing_config" {
    for_each = [
      for held in compact([lookup(var.canary.held_versions, each.key, "")]) :
      each.value.version if held != each.value.version
    ]

    content {
      additional_version_weights = { (routing_config.value) = var.canary.percent / 100 }
    }
  }
}
