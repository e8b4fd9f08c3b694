# Inputs that are valid one by one and wrong together: the plan refuses them. The message holds the words above a run.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id   = "333333333333"
  api          = { memory_mb = 640, timeout_seconds = 12, url_ttl_seconds = 1200 }
  architecture = "x86_64"
  canary = {
    held_versions = {}
    percent       = 10
  }
  image_uri          = format("%s/processor@sha256:%s", "444444444444.dkr.ecr.eu-west-1.amazonaws.com", sha256("image"))
  log_level          = "WARNING"
  log_retention_days = 90
  name_prefix        = "image-pipeline-prod"
  processor = {
    backfill_concurrency = 3
    batch_size           = 6
    ephemeral_storage_mb = 1024
    maximum_concurrency  = 40
    memory_mb            = 3008
    timeout_seconds      = 120
  }
  region = "eu-west-1"
  role_arns = {
    announcer = "arn:aws:iam::333333333333:role/image-pipeline-prod-announcer"
    api       = "arn:aws:iam::333333333333:role/image-pipeline-prod-api"
    processor = "arn:aws:iam::333333333333:role/image-pipeline-prod-processor"
  }
  storage = {
    backfill_queue = {
      arn = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-backfill"
      url = "https://sqs.eu-west-1.amazonaws.com/333333333333/image-pipeline-prod-backfill"
    }
    processed_bucket = {
      arn  = "arn:aws:s3:::image-pipeline-prod-processed-333333333333-eu-west-1"
      name = "image-pipeline-prod-processed-333333333333-eu-west-1"
    }
    queue = {
      arn                        = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-uploads"
      max_receive_count          = 4
      url                        = "https://sqs.eu-west-1.amazonaws.com/333333333333/image-pipeline-prod-uploads"
      visibility_timeout_seconds = 720
    }
    table = {
      arn        = "arn:aws:dynamodb:eu-west-1:333333333333:table/image-pipeline-prod-images"
      indexes    = ["by-status", "newest"]
      name       = "image-pipeline-prod-images"
      stream_arn = "arn:aws:dynamodb:eu-west-1:333333333333:table/image-pipeline-prod-images/stream/2026-01-01"
    }
    upload_bucket = {
      arn  = "arn:aws:s3:::image-pipeline-prod-uploads-333333333333-eu-west-1"
      name = "image-pipeline-prod-uploads-333333333333-eu-west-1"
    }
  }
}

# visibility timeout is 719 s; it must be at least 720 s
# timeout of 120 s
run "queue_that_hides_messages_too_briefly" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    storage = merge(var.storage, {
      queue = merge(var.storage.queue, { visibility_timeout_seconds = 719 })
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# visibility timeout is 43200 s; it must be at most 4320 s
# timeout of 120 s
run "queue_that_hides_messages_for_hours" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    storage = merge(var.storage, {
      queue = merge(var.storage.queue, { visibility_timeout_seconds = 43200 })
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# The environment of processor takes
# bytes, and Lambda takes 4096
# name fewer variants or formats
run "environment_that_lambda_does_not_take" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    processor = merge(var.processor, {
      recipe = {
        variants = [
          for width in range(100, 2600, 100) : {
            width   = width
            formats = [for format in ["avif", "webp", "jpeg"] : { format = format, quality = 60, effort = 1 }]
          }
        ]
      }
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# processor.memory_mb must be at least 11238 for files of limits.max_bytes = 5368709120, not 3008
# or lower max_bytes
run "limit_of_bytes_that_no_memory_holds" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    processor = merge(var.processor, {
      limits = { max_bytes = 5368709120 }
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# processor.limits.max_memory_mb must be at least 268, or every image would be refused, not 200
run "limit_of_memory_below_what_any_image_takes" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    processor = merge(var.processor, {
      limits = { max_memory_mb = 200 }
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# processor.timeout_seconds must be at least 1800, 3 times limits.max_seconds = 600, not 120
# raise it or lower max_seconds
run "limit_of_seconds_that_the_function_does_not_have" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    processor = merge(var.processor, {
      limits = { max_seconds = 600 }
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# processor.memory_mb must be at least 636 for files of limits.max_bytes = 67108864, not 499
run "processor_memory_in_which_every_image_is_refused" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    processor = merge(var.processor, {
      memory_mb = 499
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# processor.timeout_seconds must be at least 30, 3 times limits.max_seconds = 10, not 29
run "processor_timeout_too_short_for_one_image" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    processor = merge(var.processor, {
      timeout_seconds = 29
    })
  }

  expect_failures = [aws_lambda_function.function]
}

# The image is for linux/amd64, but architecture arm64 runs linux/arm64
# PLATFORM=linux/arm64
run "image_of_another_platform" {
  command = plan

  plan_options {
    refresh = false
  }

  variables {
    architecture   = "arm64"
    image_platform = "linux/amd64"
  }

  expect_failures = [aws_lambda_function.function]
}
