variable "account_id" {
  description = "Account of the watched resources."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "alarm_emails" {
  description = "Addresses that get alarms, after they confirm a first e-mail."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", address))])
    error_message = "alarm_emails must be like on-call@example.com, not ${jsonencode(var.alarm_emails)}."
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
    api       = object({ name = string })
    processor = object({
      name            = string
      timeout_seconds = number
    })
  })
  nullable = false
}

variable "name_prefix" {
  description = "Start of every name, and the namespace of the processor's metrics: `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, not '${var.name_prefix}'."
  }
}

variable "region" {
  description = "Region of the watched resources."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "runbook_url" {
  description = "URL of docs/operations.md. Each alarm links to its section, `<runbook_url>#<alarm>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[^/#]+/[^#]+$", var.runbook_url))
    error_message = "runbook_url must be an https URL without '#', to which alarms add one, not '${var.runbook_url}'."
  }
}

variable "storage" {
  description = "Queue, dead-letter queue and table: outputs of the storage module."
  type = object({
    dead_letter_queue = object({ name = string })
    queue             = object({ name = string })
    table             = object({ indexes = list(string), name = string })
  })
  nullable = false
}

variable "thresholds" {
  description = "Limits of alarms: ages of the stream and the queue, API latency, share of the processor's timeout."
  type = object({
    announcer_age_seconds    = optional(number, 900)
    api_latency_ms           = optional(number, 3000)
    processor_duration_share = optional(number, 0.8)
    queue_age_seconds        = optional(number, 900)
  })
  default  = {}
  nullable = false

  validation {
    condition = var.thresholds.announcer_age_seconds >= 60 && var.thresholds.announcer_age_seconds < 86400
    error_message = join(" ", [
      "thresholds.announcer_age_seconds must be at least 60, the time between two measurements,",
      "and less than 86400, when the stream drops records, not ${var.thresholds.announcer_age_seconds}.",
    ])
  }

  validation {
    condition = var.thresholds.api_latency_ms >= 1 && var.thresholds.api_latency_ms <= 30000
    error_message = join(" ", [
      "thresholds.api_latency_ms must be from 1 to 30000, when API Gateway gives up,",
      "not ${var.thresholds.api_latency_ms}.",
    ])
  }

  validation {
    condition = var.thresholds.processor_duration_share > 0 && var.thresholds.processor_duration_share < 1
    error_message = join(" ", [
      "thresholds.processor_duration_share must be between 0 and 1, a share of the timeout,",
      "not ${var.thresholds.processor_duration_share}.",
    ])
  }

  validation {
    condition = var.thresholds.queue_age_seconds >= 60
    error_message = join(" ", [
      "thresholds.queue_age_seconds must be at least 60, the time between two measurements,",
      "not ${var.thresholds.queue_age_seconds}.",
    ])
  }
}
