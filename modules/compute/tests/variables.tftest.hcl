# Values that the module refuses. Each message holds the words above its run: tests/modules checks that, too.

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

# account_id must be 12 digits, not '12345'
run "account_id_of_5_digits" {
  command = plan

  variables {
    account_id = "12345"
  }

  expect_failures = [var.account_id]
}

# api.memory_mb must be from 128 to 10240, not 64
run "api_memory_too_small" {
  command = plan

  variables {
    api = merge(var.api, { memory_mb = 64 })
  }

  expect_failures = [var.api]
}

# api.reserved_concurrency must be a whole number from 1, or null for none, not 0
run "api_switched_off_by_a_reservation_of_nothing" {
  command = plan

  variables {
    api = merge(var.api, { reserved_concurrency = 0 })
  }

  expect_failures = [var.api]
}

# api.timeout_seconds must be from 1 to 29
run "api_timeout_above_29_seconds" {
  command = plan

  variables {
    api = merge(var.api, { timeout_seconds = 30 })
  }

  expect_failures = [var.api]
}

# api.url_ttl_seconds must be from 60 to 3600 (an hour), not 7200
run "api_url_ttl_above_an_hour" {
  command = plan

  variables {
    api = merge(var.api, { url_ttl_seconds = 7200 })
  }

  expect_failures = [var.api]
}

# architecture must be arm64 or x86_64, not 'amd64'
run "architecture_by_dockers_name" {
  command = plan

  variables {
    architecture = "amd64"
  }

  expect_failures = [var.architecture]
}

# processor.backfill_concurrency must be from 2 to 1000, not 1
run "backfill_concurrency_below_two" {
  command = plan

  variables {
    processor = merge(var.processor, { backfill_concurrency = 1 })
  }

  expect_failures = [var.processor]
}

# processor.batch_size must be from 1 to 10, not 11
run "batch_size_above_ten" {
  command = plan

  variables {
    processor = merge(var.processor, { batch_size = 11 })
  }

  expect_failures = [var.processor]
}

# canary.percent must be from 1 to 50, not 51
run "canary_above_half" {
  command = plan

  variables {
    canary = merge(var.canary, { percent = 51 })
  }

  expect_failures = [var.canary]
}

# canary.percent must be from 1 to 50, not 0
run "canary_of_zero_percent" {
  command = plan

  variables {
    canary = merge(var.canary, { percent = 0 })
  }

  expect_failures = [var.canary]
}

# from 512 to 10240, not 256
run "ephemeral_storage_too_small" {
  command = plan

  variables {
    processor = merge(var.processor, { ephemeral_storage_mb = 256 })
  }

  expect_failures = [var.processor]
}

# published version, a number, not {"resizer":"3"}
run "held_version_of_an_unknown_function" {
  command = plan

  variables {
    canary = merge(var.canary, { held_versions = { resizer = "3" } })
  }

  expect_failures = [var.canary]
}

# a published version, a number, not {"api":"$LATEST"}
run "held_version_that_is_not_published" {
  command = plan

  variables {
    canary = merge(var.canary, { held_versions = { api = "$LATEST" } })
  }

  expect_failures = [var.canary]
}

# Run `make build` to get one
run "image_by_tag" {
  command = plan

  variables {
    image_uri = "444444444444.dkr.ecr.eu-west-1.amazonaws.com/image-pipeline/processor:latest"
  }

  expect_failures = [var.image_uri]
}

# must be in eu-west-1
run "image_of_another_region" {
  command = plan

  variables {
    image_uri = format("%s/processor@sha256:%s", "444444444444.dkr.ecr.us-east-1.amazonaws.com", sha256("image"))
  }

  expect_failures = [var.image_uri]
}

# or linux/arm64, or empty, not 'windows/amd64'
run "image_platform_of_windows" {
  command = plan

  variables {
    image_platform = "windows/amd64"
  }

  expect_failures = [var.image_platform]
}

# max_side from 1 to 65535
run "limit_of_a_side_too_large" {
  command = plan

  variables {
    processor = merge(var.processor, { limits = { max_side = 65536 } })
  }

  expect_failures = [var.processor]
}

# max_bytes from 1 to 5368709120
run "limit_of_bytes_of_zero" {
  command = plan

  variables {
    processor = merge(var.processor, { limits = { max_bytes = 0 } })
  }

  expect_failures = [var.processor]
}

# some of jpeg, png, gif, webp, tiff, avif, heic
run "limit_of_formats_with_an_unknown_one" {
  command = plan

  variables {
    processor = merge(var.processor, { limits = { formats = ["bmp"] } })
  }

  expect_failures = [var.processor]
}

# some of jpeg, png, gif, webp, tiff, avif, heic
run "limit_of_formats_without_any" {
  command = plan

  variables {
    processor = merge(var.processor, { limits = { formats = [] } })
  }

  expect_failures = [var.processor]
}

# max_memory_mb from 64 to 10240
run "limit_of_memory_too_small" {
  command = plan

  variables {
    processor = merge(var.processor, { limits = { max_memory_mb = 63 } })
  }

  expect_failures = [var.processor]
}

# log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not 'TRACE'
run "log_level_unknown" {
  command = plan

  variables {
    log_level = "TRACE"
  }

  expect_failures = [var.log_level]
}

# a number of days that CloudWatch knows
run "log_retention_unknown_to_cloudwatch" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

# from 2 to 1000, not 1
run "maximum_concurrency_below_two" {
  command = plan

  variables {
    processor = merge(var.processor, { maximum_concurrency = 1 })
  }

  expect_failures = [var.processor]
}

# 3 to 40 lower-case letters, digits and hyphens
run "name_prefix_with_capitals" {
  command = plan

  variables {
    name_prefix = "Image_Pipeline"
  }

  expect_failures = [var.name_prefix]
}

# processor.memory_mb must be from 128 to 10240, not 20480
run "processor_memory_too_large" {
  command = plan

  variables {
    processor = merge(var.processor, { memory_mb = 20480 })
  }

  expect_failures = [var.processor]
}

# processor.timeout_seconds must be from 1 to 900, not 901
run "processor_timeout_above_15_minutes" {
  command = plan

  variables {
    processor = merge(var.processor, { timeout_seconds = 901 })
  }

  expect_failures = [var.processor]
}

# formats must be at least one, each once, of avif, jpeg, png, webp
run "recipe_alpha_as_gif" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { alpha = [{ format = "gif" }] } })
  }

  expect_failures = [var.processor]
}

# must have one of the formats gif, webp
run "recipe_animation_as_avif" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { animation = { format = "avif" } } })
  }

  expect_failures = [var.processor]
}

# effort by format to 10 (gif), 6 (webp)
run "recipe_animation_of_an_effort_too_large_for_webp" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { animation = { effort = 7 } } })
  }

  expect_failures = [var.processor]
}

# max_frames from 0 to 10000
run "recipe_animation_of_fewer_than_no_frames" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { animation = { max_frames = -1 } } })
  }

  expect_failures = [var.processor]
}

# a colour like #ffffff, not "white"
run "recipe_background_by_name" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { background = "white" } })
  }

  expect_failures = [var.processor]
}

# crop must be one of attention, centre, focal
run "recipe_crop_unknown" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "jpeg" }], crop = "top" }] }
    })
  }

  expect_failures = [var.processor]
}

# "webp":6
run "recipe_effort_too_large" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "webp", effort = 7 }] }] }
    })
  }

  expect_failures = [var.processor]
}

# with a height unless it is inside
run "recipe_fit_cover_without_height" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "jpeg" }], fit = "cover" }] }
    })
  }

  expect_failures = [var.processor]
}

# height from 16 to 8192 and width from 16 to 8192
run "recipe_height_too_large" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "jpeg" }], height = 9000 }] }
    })
  }

  expect_failures = [var.processor]
}

# lossless for avif, png, webp only
run "recipe_lossless_jpeg" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "jpeg", lossless = true }] }] }
    })
  }

  expect_failures = [var.processor]
}

# quality from 1 to 100
run "recipe_quality_above_100" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "jpeg", quality = 101 }] }] }
    })
  }

  expect_failures = [var.processor]
}

# quant_table for jpeg only
run "recipe_quant_table_of_webp" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "webp", quant_table = 3 }] }] }
    })
  }

  expect_failures = [var.processor]
}

# formats must be at least one, each once, of avif, jpeg, png, webp
run "recipe_variant_as_gif" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "gif" }] }] }
    })
  }

  expect_failures = [var.processor]
}

# name up to 32 letters a-z and digits
run "recipe_variant_name_with_a_slash" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "jpeg" }], name = "a/b" }] }
    })
  }

  expect_failures = [var.processor]
}

# each once
run "recipe_variant_with_a_format_twice" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 64, formats = [{ format = "png" }, { format = "png" }] }] }
    })
  }

  expect_failures = [var.processor]
}

# at least one, each once
run "recipe_variant_without_formats" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { variants = [{ width = 64, formats = [] }] } })
  }

  expect_failures = [var.processor]
}

# height from 16 to 8192 and width from 16 to 8192
run "recipe_width_too_small" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = { variants = [{ width = 8, formats = [{ format = "jpeg" }] }] }
    })
  }

  expect_failures = [var.processor]
}

# must have names that differ
run "recipe_with_a_variant_twice" {
  command = plan

  variables {
    processor = merge(var.processor, {
      recipe = {
        variants = [
          { width = 64, formats = [{ format = "jpeg" }] },
          { name = "w64", width = 32, formats = [{ format = "jpeg" }] },
        ]
      }
    })
  }

  expect_failures = [var.processor]
}

# must be 1 to 32
run "recipe_without_variants" {
  command = plan

  variables {
    processor = merge(var.processor, { recipe = { variants = [] } })
  }

  expect_failures = [var.processor]
}

# region must be a region's code, like eu-west-1, not 'Ireland'
run "region_that_is_no_code" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

# an administrator applies ci-access first
run "role_that_is_missing" {
  command = plan

  variables {
    role_arns = { api = "arn:aws:iam::333333333333:role/image-pipeline-prod-api" }
  }

  expect_failures = [var.role_arns]
}
