# Dev: runs the working tree, costs less than a dollar a month at rest, may be thrown away at any time.

locals {
  environment = "dev"
  account_id  = "111111111111"
  region      = "eu-west-1"

  # Releases go from lower to higher numbers; environments are applied in this order.
  order = 10

  # Whether `make apply` asks before it changes anything here.
  ask_first = false

  # GitHub's identity provider exists once in an account: false in all but one of the environments that share one.
  # A KMS key for what is stored costs a dollar a month.
  ci_access = { create_oidc_provider = true, customer_managed_key = false }

  storage = {
    deletion_protection = false
    force_destroy       = true

    expiry = {
      incomplete_upload_days  = 7
      noncurrent_version_days = 7
      test_data_days          = 1
    }

    queue = {
      visibility_timeout_seconds = 360
      max_receive_count          = 5
      retention_days             = 4
      dead_letter_retention_days = 14
    }
  }

  compute = {
    architecture       = "x86_64"
    log_level          = "DEBUG"
    log_retention_days = 7

    processor = {
      memory_mb            = 1769
      timeout_seconds      = 60
      ephemeral_storage_mb = 512
      backfill_concurrency = 2
      batch_size           = 4
      maximum_concurrency  = 5
    }

    api = {
      memory_mb       = 512
      timeout_seconds = 10
      url_ttl_seconds = 900

      reserved_concurrency = null
    }
  }

  api = {
    cors               = { allow_origins = ["*"] }
    log_retention_days = 7

    # Whether anybody may read images, without a signature: docs/api.md shows what of them.
    public_reading = false

    # Requests at once, and per second. Lists have a limit of their own: all read one partition of an index.
    throttling = {
      burst_limit = 20
      rate_limit  = 10
      listing     = { burst_limit = 20, rate_limit = 10 }
    }
  }

  monitoring = {
    alarm_emails = []

    thresholds = {
      queue_age_seconds        = 900
      processor_duration_share = 0.8
      api_latency_ms           = 3000
    }
  }

  # A new version gets all calls at once.
  rollout = { canary_percent = 0, bake_minutes = 0 }

  # Hours that a release must have run here before it may be promoted to the next environment.
  promotion = { soak_hours = 0 }
}
