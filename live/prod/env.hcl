# Prod: protected against deletion; nothing in it may be lost.

locals {
  environment = "prod"
  account_id  = "333333333333"
  region      = "eu-west-1"

  # Releases go from lower to higher numbers; environments are applied in this order.
  order = 30

  # Whether `make apply` asks before it changes anything here.
  ask_first = true

  # GitHub's identity provider exists once in an account: false in all but one of the environments that share one.
  # A KMS key for what is stored costs a dollar a month.
  ci_access = { create_oidc_provider = true, customer_managed_key = false }

  storage = {
    deletion_protection = true
    force_destroy       = false

    expiry = {
      incomplete_upload_days  = 7
      noncurrent_version_days = 90
      test_data_days          = 1
    }

    queue = {
      visibility_timeout_seconds = 360
      max_receive_count          = 10
      retention_days             = 4
      dead_letter_retention_days = 14
    }
  }

  compute = {
    architecture       = "x86_64"
    log_level          = "INFO"
    log_retention_days = 365

    processor = {
      memory_mb            = 1769
      timeout_seconds      = 60
      ephemeral_storage_mb = 512
      backfill_concurrency = 5
      batch_size           = 8
      maximum_concurrency  = 50
    }

    api = {
      memory_mb       = 512
      timeout_seconds = 10
      url_ttl_seconds = 900

      # As many as throttling.burst_limit. Lambda keeps 100 for other functions: set null until the quota allows 300.
      reserved_concurrency = 200
    }
  }

  api = {
    cors               = { allow_origins = ["*"] }
    log_retention_days = 365

    # Whether anybody may read images, without a signature: docs/api.md shows what of them.
    public_reading = false

    # Requests at once, and per second. Lists have a limit of their own: all read one partition of an index.
    throttling = {
      burst_limit = 200
      rate_limit  = 100
      listing     = { burst_limit = 40, rate_limit = 20 }
    }
  }

  monitoring = {
    alarm_emails = []

    thresholds = {
      queue_age_seconds        = 300
      processor_duration_share = 0.8
      api_latency_ms           = 1500
    }
  }

  # A new version gets a tenth of the calls, then all of them if it did no worse than the version before for so long.
  # CloudWatch shows calls one to two minutes later.
  rollout = { canary_percent = 10, bake_minutes = 20 }

  # Hours that a release must have run here before it may be promoted to the next environment.
  promotion = { soak_hours = 0 }
}
