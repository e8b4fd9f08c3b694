variable "account_id" {
  description = "Account that is watched."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "alarm_emails" {
  description = "Addresses that alarms are sent to. Each gets a mail first that asks to confirm."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alarm_emails must be mail addresses, like on-call@example.com, not ${jsonencode(var.alarm_emails)}."
  }
}

variable "api" {
  description = "The HTTP API: outputs of the api module."
  type = object({
    api_id = string
    stage  = string
  })
  nullable = false
}

variable "functions" {
  description = "The functions: output of the compute module."
  type = object({
    announcer = object({ name = string })
    processor = object({
      name            = string
      timeout_seconds = number
    })
  })
  nullable = false
}

variable "name_prefix" {
  description = "Start of every name and namespace of the processor's metrics, `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, like image-pipeline-dev, not '${var.name_prefix}'."
  }
}

variable "region" {
  description = "Region that is watched."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "runbook_url" {
  description = "Where the runbook, docs/operations.md, can be read; alarms add `#<alarm>` to it."
  type        = string
  default     = "docs/operations.md"
  nullable    = false

  validation {
    condition     = length(var.runbook_url) > 0 && !strcontains(var.runbook_url, "#")
    error_message = "runbook_url must be an address without '#', because alarms add their own section, not '${var.runbook_url}'."
  }
}

variable "storage" {
  description = "Queue, dead-letter queue and table: outputs of the storage module."
  type = object({
    dead_letter_queue = object({ name = string })
    queue             = object({ name = string })
    table             = object({ name = string })
  })
  nullable = false
}

variable "thresholds" {
  description = "What is too much: age of what is not told yet and of the oldest message in seconds, share of its timeout that the processor takes, milliseconds that the API takes."
  type = object({
    announcer_age_seconds    = optional(number, 900)
    api_latency_ms           = optional(number, 3000)
    processor_duration_share = optional(number, 0.8)
    queue_age_seconds        = optional(number, 900)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.thresholds.announcer_age_seconds >= 60 && var.thresholds.announcer_age_seconds < 86400
    error_message = "thresholds.announcer_age_seconds must be at least 60, the time between two measurements, and less than 86400, when the stream forgets, not ${var.thresholds.announcer_age_seconds}."
  }

  validation {
    condition     = var.thresholds.api_latency_ms >= 1 && var.thresholds.api_latency_ms <= 30000
    error_message = "thresholds.api_latency_ms must be from 1 to 30000, when API Gateway gives up, not ${var.thresholds.api_latency_ms}."
  }

  validation {
    condition     = var.thresholds.processor_duration_share > 0 && var.thresholds.processor_duration_share < 1
    error_message = "thresholds.processor_duration_share must be between 0 and 1, a share of the timeout, not ${var.thresholds.processor_duration_share}."
  }

  validation {
    condition     = var.thresholds.queue_age_seconds >= 60
    error_message = "thresholds.queue_age_seconds must be at least 60, the time between two measurements, not ${var.thresholds.queue_age_seconds}."
  }
}
