variable "force_destroy" {
  description = "Whether `destroy` may delete a repository that still holds images."
  type        = bool
  default     = false
  nullable    = false
}

variable "name" {
  description = "Name of the repository, like `<project>/<image>`."
  type        = string
  nullable    = false

  validation {
    condition = (
      length(var.name) <= 256 &&
      can(regex("^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$", var.name))
    )
    error_message = "name must be lower-case letters and digits, separated by . _ - or /, not '${var.name}'."
  }
}

variable "reader_account_ids" {
  description = "Accounts that may pull: those whose functions run images of this repository."
  type        = set(string)
  nullable    = false

  validation {
    condition = (
      length(var.reader_account_ids) > 0 &&
      alltrue([for account_id in var.reader_account_ids : can(regex("^[0-9]{12}$", account_id))])
    )
    error_message = "reader_account_ids must be accounts of 12 digits, not ${jsonencode(var.reader_account_ids)}."
  }
}

variable "untagged_retention_days" {
  description = "Days to keep an image that was never released: without a tag, or with `build-…` tags only."
  type        = number
  nullable    = false

  validation {
    condition = (
      var.untagged_retention_days >= 1 &&
      floor(var.untagged_retention_days) == var.untagged_retention_days
    )
    error_message = "untagged_retention_days must be a whole number from 1, not ${var.untagged_retention_days}."
  }
}
