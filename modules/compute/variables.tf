variable "account_id" {
  description = "Account that the functions are made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "api" {
  description = "Size of the API's function, executions reserved for it (null: none), lifetime of addresses it signs."
  type = object({
    memory_mb            = optional(number, 512)
    reserved_concurrency = optional(number)
    timeout_seconds      = optional(number, 10)
    url_ttl_seconds      = optional(number, 900)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.api.memory_mb >= 128 && var.api.memory_mb <= 10240
    error_message = "api.memory_mb must be from 128 to 10240, not ${var.api.memory_mb}."
  }

  # Zero would switch the function off.
  validation {
    condition = alltrue([
      for share in [var.api.reserved_concurrency] : share >= 1 && floor(share) == share if share != null
    ])
    error_message = format(
      "api.reserved_concurrency must be a whole number from 1, or null for none, not %s.",
      jsonencode(var.api.reserved_concurrency),
    )
  }

  validation {
    condition = var.api.timeout_seconds >= 1 && var.api.timeout_seconds <= 29
    error_message = format(
      "api.timeout_seconds must be from 1 to 29, because API Gateway waits for 30 s, not %s.",
      var.api.timeout_seconds,
    )
  }

  # Whatever it says, an address dies with the credentials that signed it, and those of a role live for hours.
  validation {
    condition     = var.api.url_ttl_seconds >= 60 && var.api.url_ttl_seconds <= 3600
    error_message = "api.url_ttl_seconds must be from 60 to 3600 (an hour), not ${var.api.url_ttl_seconds}."
  }
}

variable "architecture" {
  description = "Processor that the image was built for: `arm64` or `x86_64`."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64, not '${var.architecture}'."
  }
}

# `make apply` sets it from step to step, and no file does: without it every call goes to the newest version.
variable "canary" {
  description = "A rollout that is under way: the versions that functions hold, and the newest one's share in percent."
  type = object({
    held_versions = optional(map(string), {})
    percent       = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for function, version in var.canary.held_versions :
      contains(["announcer", "api", "processor"], function) && can(regex("^[1-9][0-9]*$", version))
    ])
    error_message = format(
      "canary.held_versions must map announcer, api or processor to a published version, a number, not %s.",
      jsonencode(var.canary.held_versions),
    )
  }

  validation {
    condition     = var.canary.percent >= 1 && var.canary.percent <= 50
    error_message = "canary.percent must be from 1 to 50, not ${var.canary.percent}."
  }
}

variable "image_platform" {
  description = "Platform of the image, linux/amd64 or linux/arm64, compared with the architecture; empty if not known."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "linux/amd64", "linux/arm64"], var.image_platform)
    error_message = "image_platform must be linux/amd64 or linux/arm64, or empty, not '${var.image_platform}'."
  }
}

variable "image_uri" {
  description = "Image that the functions run, by digest: `<repository>@sha256:<64 hex digits>`."
  type        = string
  nullable    = false

  validation {
    condition = can(regex(
      "^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$",
      var.image_uri,
    ))
    error_message = format(
      "image_uri must be an ECR repository and a digest, <repository>@sha256:<64 hex digits>, not '%s'. %s",
      var.image_uri,
      "Run `make build` to get one.",
    )
  }

  validation {
    condition = strcontains(var.image_uri, ".dkr.ecr.${var.region}.")
    error_message = format(
      "image_uri must be in %s, because Lambda pulls from its own region only, not '%s'.",
      var.region,
      var.image_uri,
    )
  }
}

variable "log_level" {
  description = "Least important lines that the functions log."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], var.log_level)
    error_message = "log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not '${var.log_level}'."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  nullable    = false

  validation {
    condition = contains([
      1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
    ], var.log_retention_days)
    error_message = format(
      "log_retention_days must be a number of days that CloudWatch knows (%s), not %s.",
      "1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400 ... 3653",
      var.log_retention_days,
    )
  }
}

variable "name_prefix" {
  description = "Start of every name and namespace of the processor's metrics, `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = format(
      "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, like image-pipeline-dev, not '%s'.",
      var.name_prefix,
    )
  }
}

variable "region" {
  description = "Region that the functions are made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "role_arns" {
  description = "Role of each function, by the function's name: output `function_role_arns` of `ci-access`."
  type        = map(string)
  nullable    = false

  validation {
    condition = alltrue([
      for function in ["announcer", "api", "processor"] :
      can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", var.role_arns[function]))
    ])
    error_message = format(
      "role_arns must have the ARN of a role for announcer, api and processor, not %s: %s.",
      jsonencode(var.role_arns),
      "an administrator applies ci-access first",
    )
  }
}

variable "storage" {
  description = "Buckets, queue, table and key: outputs of the storage module."
  type = object({
    backfill_queue   = object({ arn = string, url = string })
    kms_key_arn      = optional(string)
    processed_bucket = object({ arn = string, name = string })
    queue = object({
      arn                        = string
      max_receive_count          = number
      url                        = string
      visibility_timeout_seconds = number
    })
    table         = object({ arn = string, indexes = list(string), name = string, stream_arn = string })
    upload_bucket = object({ arn = string, name = string })
  })
  nullable = false
}
