variable "account_id" {
  description = "Account that the roles are made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "create_oidc_provider" {
  description = "Make GitHub's identity provider. An account has it once: where environments share an account, one of them makes it."
  type        = bool
  default     = true
  nullable    = false
}

variable "environment" {
  description = "Name of the environment, and of its environment on GitHub, whose jobs may apply."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.environment))
    error_message = "environment must be 2 to 31 lower-case letters, digits and hyphens, not '${var.environment}'."
  }
}

variable "github" {
  description = "The repository whose workflows may take the roles, `owner/name`, and the ids of both, which `gh api repos/<owner>/<name>` tells."
  type = object({
    owner_id      = optional(string)
    repository    = string
    repository_id = optional(string)
  })
  nullable = false

  validation {
    condition     = can(regex("^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$", var.github.repository))
    error_message = "github.repository must be like owner/name, without patterns, not '${var.github.repository}'."
  }

  validation {
    condition     = alltrue([for id in [var.github.owner_id, var.github.repository_id] : can(regex("^[0-9]+$", id)) if id != null])
    error_message = "github.owner_id and github.repository_id must be numbers, not ${jsonencode(var.github)}."
  }

  validation {
    condition     = (var.github.owner_id == null) == (var.github.repository_id == null)
    error_message = "github.owner_id and github.repository_id go together, not ${jsonencode(var.github)}."
  }
}

variable "name_prefix" {
  description = "What all names begin with, `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, like image-pipeline-dev, not '${var.name_prefix}'."
  }
}

variable "region" {
  description = "Region of what the roles manage."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "registry" {
  description = "The image registry: its account, the repository's name, and whether the apply role manages it and pushes to it."
  type = object({
    account_id = string
    manage     = optional(bool, false)
    name       = string
  })
  nullable = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.registry.account_id)) && can(regex("^[a-z0-9][a-z0-9._/-]*$", var.registry.name))
    error_message = "registry must have an account of 12 digits and the name of a repository, not ${jsonencode(var.registry)}."
  }
}

variable "state" {
  description = "Where the environment's state is: bucket, what its keys begin with, and the table of locks."
  type = object({
    bucket     = string
    lock_table = string
    prefix     = string
  })
  nullable = false

  validation {
    condition     = alltrue([for part in values(var.state) : length(part) > 0 && !strcontains(part, "*")]) && !endswith(var.state.prefix, "/")
    error_message = "state must have a bucket, a lock_table and a prefix without * or a slash at its end, not ${jsonencode(var.state)}."
  }
}
