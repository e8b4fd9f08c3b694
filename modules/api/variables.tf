variable "account_id" {
  description = "Account of the API."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "cors" {
  description = "What scripts of other origins may do. `allow_origins = [\"*\"]` allows every web page."
  type = object({
    allow_headers = optional(list(string), [
      "authorization",
      "content-type",
      "x-amz-content-sha256",
      "x-amz-date",
      "x-amz-security-token",
    ])
    allow_methods   = optional(list(string), ["DELETE", "GET"])
    allow_origins   = list(string)
    expose_headers  = optional(list(string), ["location"])
    max_age_seconds = optional(number, 600)
  })
  nullable = false

  validation {
    condition = (
      length(var.cors.allow_origins) > 0 &&
      alltrue([for origin in var.cors.allow_origins : can(regex("^(\\*|https?://[^/*]+)$", origin))])
    )
    error_message = join(" ", [
      "cors.allow_origins must be [\"*\"] or origins without a path, like https://gallery.example.com,",
      "not ${jsonencode(var.cors.allow_origins)}.",
    ])
  }

  validation {
    condition = alltrue([
      for method in var.cors.allow_methods :
      contains(["*", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"], method)
    ])
    error_message = "cors.allow_methods must be methods in capitals, not ${jsonencode(var.cors.allow_methods)}."
  }

  validation {
    condition     = var.cors.max_age_seconds >= 0 && var.cors.max_age_seconds <= 86400
    error_message = "cors.max_age_seconds must be from 0 to 86400 (a day), not ${var.cors.max_age_seconds}."
  }
}

variable "function" {
  description = "Function that answers requests, called by its alias: `functions.api` of the compute module."
  type = object({
    alias      = string
    invoke_arn = string
    name       = string
  })
  nullable = false

  validation {
    condition = endswith(var.function.invoke_arn, ":${var.function.alias}/invocations")
    error_message = join(" ", [
      "function.invoke_arn must be the one of the alias and end in :${var.function.alias}/invocations,",
      "not ${var.function.invoke_arn}.",
    ])
  }
}

variable "log_retention_days" {
  description = "Days to keep the access log."
  type        = number
  nullable    = false

  validation {
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days
    )
    error_message = join(" ", [
      "log_retention_days must be a number of days that CloudWatch knows",
      "(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400 ... 3653), not ${var.log_retention_days}.",
    ])
  }
}

variable "name_prefix" {
  description = "Name of the API, `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, not '${var.name_prefix}'."
  }
}

variable "public_reading" {
  description = "Add routes under `/public` by which anybody may read images: chosen fields, and the variants."
  type        = bool
  nullable    = false
  default     = false
}

variable "region" {
  description = "Region of the API."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "throttling" {
  description = "Requests of all callers: sustained per second, and at once. More get 429. `listing`: those for lists."
  type = object({
    burst_limit = number
    rate_limit  = number

    listing = optional(object({
      burst_limit = number
      rate_limit  = number
    }), { burst_limit = 20, rate_limit = 10 })
  })
  nullable = false

  # API Gateway reads a limit that is not set as zero, and zero refuses every request.
  validation {
    condition = (
      var.throttling.burst_limit >= 1 && var.throttling.burst_limit <= 5000 &&
      var.throttling.rate_limit >= 1 && var.throttling.rate_limit <= 10000
    )
    error_message = join(" ", [
      "throttling: burst_limit must be from 1 to 5000 and rate_limit from 1 to 10000,",
      "not ${var.throttling.burst_limit} and ${var.throttling.rate_limit}.",
    ])
  }

  # All lists read one partition of an index, which gives 3,000 read units a second; the longest page takes 18. Two
  # routes (signed and public) at 80 a second take 2,880.
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
  validation {
    condition = (
      var.throttling.listing.burst_limit >= 1 && var.throttling.listing.burst_limit <= 500 &&
      var.throttling.listing.rate_limit >= 1 && var.throttling.listing.rate_limit <= 80
    )
    error_message = join(" ", [
      "throttling.listing: burst_limit must be from 1 to 500 and rate_limit from 1 to 80, above which lists are slowed",
      "down by DynamoDB, not ${var.throttling.listing.burst_limit} and ${var.throttling.listing.rate_limit}.",
    ])
  }
}
