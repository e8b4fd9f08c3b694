variable "account_id" {
  description = "Account of the roles."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "api_ids" {
  description = "Ids of the environment's API, which the apply role may call and change, besides one found."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.api_ids : can(regex("^[a-z0-9]+$", id))])
    error_message = "api_ids must be ids of APIs like a1b2c3d4e5, without patterns, not ${jsonencode(var.api_ids)}."
  }
}

variable "create_oidc_provider" {
  description = "Whether to create GitHub's identity provider. `true` in exactly one environment of an account."
  type        = bool
  default     = true
  nullable    = false
}

variable "customer_managed_key" {
  description = "Whether to make a KMS key for what the environment stores. Costs a dollar a month, and requests."
  type        = bool
  default     = false
  nullable    = false
}

variable "environment" {
  description = "Name of the environment, and of the GitHub environment whose jobs may apply."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}$", var.environment))
    error_message = "environment must be 2 to 31 lower-case letters, digits and hyphens, not '${var.environment}'."
  }

  validation {
    condition     = var.environment != "plan"
    error_message = "environment must not be 'plan': jobs of pull requests run in the GitHub environment of that name."
  }
}

variable "erasable" {
  description = "Whether the apply role may change and erase the stores. Without it an administrator applies `storage`."
  type        = bool
  default     = false
  nullable    = false
}

variable "find_api" {
  description = "Whether to look up the environment's API by name and tag. It exists after the first apply."
  type        = bool
  default     = false
  nullable    = false
}

variable "functions" {
  description = "Functions to make roles for: those of the compute module, or none."
  type        = set(string)
  default     = ["announcer", "api", "processor"]
  nullable    = false

  validation {
    condition     = alltrue([for name in var.functions : can(regex("^[a-z]+$", name)) && name != "ci"])
    error_message = "functions must be words of lower-case letters, and not ci, not ${jsonencode(var.functions)}."
  }
}

variable "github" {
  description = "Repository whose workflows may assume the roles, and the ids in `gh api repos/<owner>/<name>`."
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
    condition = alltrue([
      for id in [var.github.owner_id, var.github.repository_id] :
      can(regex("^[0-9]+$", id)) if id != null
    ])
    error_message = "github.owner_id and github.repository_id must be numbers, not ${jsonencode(var.github)}."
  }

  validation {
    condition     = (var.github.owner_id == null) == (var.github.repository_id == null)
    error_message = "github.owner_id and github.repository_id go together, not ${jsonencode(var.github)}."
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
}

variable "region" {
  description = "Region of the resources that the roles manage."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "registry" {
  description = "Image registry: account, repository, whether the apply role manages it, and may erase it."
  type = object({
    account_id = string
    erasable   = optional(bool, false)
    manage     = optional(bool, false)
    name       = string
  })
  nullable = false

  validation {
    condition = (
      can(regex("^[0-9]{12}$", var.registry.account_id)) &&
      can(regex("^[a-z0-9][a-z0-9._/-]*$", var.registry.name))
    )
    error_message = "registry must be an account of 12 digits and a repository, not ${jsonencode(var.registry)}."
  }
}

variable "state" {
  description = "Location of the environment's state: bucket, start of its keys, and lock table."
  type = object({
    bucket     = string
    lock_table = string
    prefix     = string
  })
  nullable = false

  validation {
    condition = (
      alltrue([for part in values(var.state) : length(part) > 0 && !strcontains(part, "*")]) &&
      !endswith(var.state.prefix, "/")
    )
    error_message = join(" ", [
      "state must have a bucket, a lock_table and a prefix without * or a slash at its end,",
      "not ${jsonencode(var.state)}.",
    ])
  }
}
