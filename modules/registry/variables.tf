variable "force_destroy" {
  description = "Let a destroy delete the repository with its images."
  type        = bool
  default     = false
  nullable    = false
}

variable "name" {
  description = "Name of the repository, `<project>/<image>`."
  type        = string
  nullable    = false

  validation {
    condition     = length(var.name) <= 256 && can(regex("^[a-z0-9]+([._-][a-z0-9]+)*(/[a-z0-9]+([._-][a-z0-9]+)*)*$", var.name))
    error_message = "name must be lower-case letters and digits, parted by . _ - or /, like image-pipeline/processor, not '${var.name}'."
  }
}

variable "reader_account_ids" {
  description = "Accounts whose functions run images of this repository."
  type        = set(string)
  nullable    = false

  validation {
    condition     = length(var.reader_account_ids) > 0 && alltrue([for account_id in var.reader_account_ids : can(regex("^[0-9]{12}$", account_id))])
    error_message = "reader_account_ids must be accounts of 12 digits, at least one, not ${jsonencode(var.reader_account_ids)}."
  }
}

variable "untagged_retention_days" {
  description = "Days that an image is kept which was never released: one without a tag, or with a tag that starts with `build-`."
  type        = number
  nullable    = false

  validation {
    condition     = var.untagged_retention_days >= 1 && floor(var.untagged_retention_days) == var.untagged_retention_days
    error_message = "untagged_retention_days must be a whole number of at least 1, not ${var.untagged_retention_days}."
  }
}
