variable "account_id" {
  description = "Account of the resources; part of the bucket names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "deletion_protection" {
  description = "Whether DynamoDB refuses to delete the table."
  type        = bool
  default     = true
  nullable    = false
}

variable "expiry" {
  description = "Days until S3 removes unfinished uploads, old versions, and objects tagged `purpose=test-data`."
  type = object({
    incomplete_upload_days  = optional(number, 7)
    noncurrent_version_days = optional(number, 30)
    test_data_days          = optional(number, 1)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for days in values(var.expiry) : days >= 1 && floor(days) == days])
    error_message = "expiry: each number of days must be a whole number of at least 1."
  }
}

variable "force_destroy" {
  description = "Whether `destroy` may delete buckets that still hold images."
  type        = bool
  default     = false
  nullable    = false
}

variable "kms_key_arn" {
  description = "KMS key for buckets, queues and table; empty: AWS's own keys. `ci-access` makes one."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^(arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-z0-9-]+)?$", var.kms_key_arn))
    error_message = "kms_key_arn must be the ARN of a key, or empty, not '${var.kms_key_arn}'."
  }
}

variable "name_prefix" {
  description = "Start of every name, `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, not '${var.name_prefix}'."
  }

  validation {
    condition = length("${var.name_prefix}-processed-${var.account_id}-${var.region}") <= 63
    error_message = join(" ", [
      "name_prefix is too long: ${var.name_prefix}-processed-${var.account_id}-${var.region}",
      "must have at most 63 characters to be a bucket name.",
    ])
  }
}

variable "queue" {
  description = "Visibility timeout (at least six times the processor's timeout), deliveries, and days of retention."
  type = object({
    dead_letter_retention_days = optional(number, 14)
    max_receive_count          = optional(number, 5)
    retention_days             = optional(number, 4)
    visibility_timeout_seconds = optional(number, 360)
  })
  default  = {}
  nullable = false

  validation {
    condition = var.queue.visibility_timeout_seconds >= 1 && var.queue.visibility_timeout_seconds <= 43200
    error_message = join(" ", [
      "queue.visibility_timeout_seconds must be from 1 to 43200 (12 hours),",
      "not ${var.queue.visibility_timeout_seconds}.",
    ])
  }

  validation {
    condition = var.queue.max_receive_count >= 4 && var.queue.max_receive_count <= 1000
    error_message = join(" ", [
      "queue.max_receive_count must be from 4 to 1000, not ${var.queue.max_receive_count}:",
      "an image may kill the processor three times, and the fourth delivery records that.",
    ])
  }

  validation {
    condition = var.queue.retention_days >= 1 && var.queue.dead_letter_retention_days <= 14
    error_message = join(" ", [
      "queue: messages can be kept from 1 to 14 days,",
      "not ${var.queue.retention_days} and ${var.queue.dead_letter_retention_days}.",
    ])
  }

  # A message keeps its age when it moves: with equal retention it would expire before anyone looks.
  validation {
    condition = var.queue.dead_letter_retention_days > var.queue.retention_days
    error_message = join(" ", [
      "queue.dead_letter_retention_days must be more than queue.retention_days (${var.queue.retention_days}),",
      "not ${var.queue.dead_letter_retention_days}.",
    ])
  }
}

variable "region" {
  description = "Region of the resources; part of the bucket names."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}
