# What the environments share: the account of the image registry. It must be in their region, because Lambda pulls
# from its own region only.

locals {
  environment = "shared"
  account_id  = "444444444444"
  region      = "eu-west-1"

  # Whether `make apply` asks before it changes anything here.
  ask_first = false

  # GitHub's identity provider exists once in an account: false in all but one of the environments that share one.
  ci_access = { create_oidc_provider = true }

  registry = {
    force_destroy           = true
    untagged_retention_days = 7
  }

  # What `make build-push` does not let through.
  image_scan = {
    refuse_from     = "HIGH"
    timeout_seconds = 300
  }
}
