variable "account_id" {
  description = "Account that the functions are made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, not '${var.account_id}'."
  }
}

variable "api" {
  description = "Size of the function that answers the API, and how long the addresses of variants that it signs are good for."
  type = object({
    memory_mb       = optional(number, 512)
    timeout_seconds = optional(number, 10)
    url_ttl_seconds = optional(number, 900)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.api.memory_mb >= 128 && var.api.memory_mb <= 10240
    error_message = "api.memory_mb must be from 128 to 10240, not ${var.api.memory_mb}."
  }

  validation {
    condition     = var.api.timeout_seconds >= 1 && var.api.timeout_seconds <= 29
    error_message = "api.timeout_seconds must be from 1 to 29, because API Gateway waits for 30 s, not ${var.api.timeout_seconds}."
  }

  # Whatever it says, an address dies with the credentials that signed it, and those of a role live for hours.
  validation {
    condition     = var.api.url_ttl_seconds >= 60 && var.api.url_ttl_seconds <= 3600
    error_message = "api.url_ttl_seconds must be from 60 to 3600 (an hour), not ${var.api.url_ttl_seconds}."
  }
}

variable "architecture" {
  description = "Processor that the image was built for: `arm64` or `x86_64`."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64, not '${var.architecture}'."
  }
}

variable "canary" {
  description = "A rollout that is under way: functions that hold a version (`held_versions`, function to version) give the newest one only `percent` of their calls. Set by `make apply` from step to step, and in no file: without it everything goes to the newest version."
  type = object({
    held_versions = optional(map(string), {})
    percent       = optional(number, 10)
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for function, version in var.canary.held_versions : contains(["announcer", "api", "processor"], function) && can(regex("^[1-9][0-9]*$", version))])
    error_message = "canary.held_versions must map announcer, api or processor to a published version, a number, not ${jsonencode(var.canary.held_versions)}."
  }

  validation {
    condition     = var.canary.percent >= 1 && var.canary.percent <= 50
    error_message = "canary.percent must be from 1 to 50, not ${var.canary.percent}."
  }
}

variable "image_platform" {
  description = "Platform that the image was built for, linux/amd64 or linux/arm64, to be checked against the architecture; empty where it is not known."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = contains(["", "linux/amd64", "linux/arm64"], var.image_platform)
    error_message = "image_platform must be linux/amd64 or linux/arm64, or empty, not '${var.image_platform}'."
  }
}

variable "image_uri" {
  description = "Image that the functions run, by digest: `<repository>@sha256:<64 hex digits>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}\\.dkr\\.ecr\\.[a-z0-9-]+\\.amazonaws\\.com(\\.cn)?/[a-z0-9._/-]+@sha256:[0-9a-f]{64}$", var.image_uri))
    error_message = "image_uri must be an ECR repository and a digest, <repository>@sha256:<64 hex digits>, not '${var.image_uri}'. Run `make build` to get one."
  }

  validation {
    condition     = strcontains(var.image_uri, ".dkr.ecr.${var.region}.")
    error_message = "image_uri must be in ${var.region}, because Lambda pulls from its own region only, not '${var.image_uri}'."
  }
}

variable "log_level" {
  description = "Least important lines that the functions log."
  type        = string
  default     = "INFO"
  nullable    = false

  validation {
    condition     = contains(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], var.log_level)
    error_message = "log_level must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not '${var.log_level}'."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a number of days that CloudWatch knows (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400 ... 3653), not ${var.log_retention_days}."
  }
}

variable "name_prefix" {
  description = "Start of every name and namespace of the processor's metrics, `<project>-<environment>`."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name_prefix))
    error_message = "name_prefix must be 3 to 40 lower-case letters, digits and hyphens, like image-pipeline-dev, not '${var.name_prefix}'."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds every role, whatever else it is given; empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.permissions_boundary_arn == "" || can(regex("^arn:[a-z-]+:iam::[0-9]{12}:policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of a policy, or empty, not '${var.permissions_boundary_arn}'."
  }
}

variable "processor" {
  description = "Size of the function that makes the variants, how many images it takes at a time, how many of it run at most for uploads and, beside them, for images that are made again (`backfill_concurrency`); what it makes (`recipe`) and what it refuses (`limits`) where the image's own defaults do not fit; `lambda-image/recipe.schema.json` says what a recipe may hold. `max_pixels` counts width x height x frames."
  type = object({
    backfill_concurrency = optional(number, 2)
    batch_size           = optional(number, 4)
    ephemeral_storage_mb = optional(number, 512)
    maximum_concurrency  = optional(number, 10)
    memory_mb            = optional(number, 1769)
    timeout_seconds      = optional(number, 60)

    limits = optional(object({
      formats                = optional(list(string))
      max_bytes              = optional(number)
      max_frames             = optional(number)
      max_memory_mb          = optional(number)
      max_metadata_bytes     = optional(number)
      max_pixels             = optional(number)
      max_pixels_per_byte    = optional(number)
      max_progressive_pixels = optional(number)
      max_seconds            = optional(number)
      max_side               = optional(number)
    }))

    recipe = optional(object({
      background = optional(string)
      gps        = optional(bool)
      partial    = optional(bool)
      wide_gamut = optional(bool)

      alpha   = optional(list(object({ effort = optional(number), format = string, lossless = optional(bool), quality = optional(number) })))
      graphic = optional(list(object({ effort = optional(number), format = string, lossless = optional(bool), quality = optional(number) })))

      animation = optional(object({
        effort     = optional(number)
        format     = optional(string)
        max_frames = optional(number)
        max_pixels = optional(number)
        quality    = optional(number)
      }))

      variants = optional(list(object({
        crop   = optional(string)
        fit    = optional(string)
        height = optional(number)
        name   = optional(string)
        width  = number

        formats = list(object({
          effort      = optional(number)
          format      = string
          lossless    = optional(bool)
          quality     = optional(number)
          quant_table = optional(number)
        }))
      })))
    }))
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.processor.backfill_concurrency >= 2 && var.processor.backfill_concurrency <= 1000
    error_message = "processor.backfill_concurrency must be from 2 to 1000, not ${var.processor.backfill_concurrency}."
  }

  # More than ten would need a batching window, and a window makes every single upload wait.
  validation {
    condition     = var.processor.batch_size >= 1 && var.processor.batch_size <= 10
    error_message = "processor.batch_size must be from 1 to 10, not ${var.processor.batch_size}."
  }

  validation {
    condition     = var.processor.ephemeral_storage_mb >= 512 && var.processor.ephemeral_storage_mb <= 10240
    error_message = "processor.ephemeral_storage_mb must be from 512 to 10240, not ${var.processor.ephemeral_storage_mb}."
  }

  validation {
    condition     = var.processor.maximum_concurrency >= 2 && var.processor.maximum_concurrency <= 1000
    error_message = "processor.maximum_concurrency must be from 2 to 1000, not ${var.processor.maximum_concurrency}."
  }

  validation {
    condition     = var.processor.memory_mb >= 128 && var.processor.memory_mb <= 10240
    error_message = "processor.memory_mb must be from 128 to 10240, not ${var.processor.memory_mb}."
  }

  validation {
    condition     = var.processor.timeout_seconds >= 1 && var.processor.timeout_seconds <= 900
    error_message = "processor.timeout_seconds must be from 1 to 900, not ${var.processor.timeout_seconds}."
  }

  # The processor checks its settings too, but only once it runs. What is refused here never gets that far.

  validation {
    condition = alltrue([
      for limit, most in {
        max_bytes           = 5368709120, max_frames = 100000, max_memory_mb = 10240, max_metadata_bytes = 2147483648, max_pixels = 2147483648,
        max_pixels_per_byte = 2147483648, max_progressive_pixels = 2147483648, max_seconds = 900, max_side = 65535
      } :
      alltrue([for value in [try(var.processor.limits[limit], null)] : value >= (limit == "max_memory_mb" ? 64 : 1) && value <= most && floor(value) == value if value != null])
    ])
    error_message = "processor.limits must be whole numbers from 1 (max_memory_mb: 64): max_bytes to 5368709120, max_frames to 100000, max_memory_mb to 10240, max_seconds to 900, max_side to 65535, the others to 2147483648; not ${jsonencode(var.processor.limits)}."
  }

  validation {
    condition = alltrue([
      for formats in [try(var.processor.limits.formats, null)] :
      length(formats) > 0 && alltrue([for format in formats : contains(["avif", "gif", "heic", "jpeg", "png", "tiff", "webp"], format)])
      if formats != null
    ])
    error_message = "processor.limits.formats must be a list of some of avif, gif, heic, jpeg, png, tiff, webp; not ${jsonencode(try(var.processor.limits.formats, null))}."
  }

  validation {
    condition     = alltrue([for colour in [try(var.processor.recipe.background, null)] : can(regex("^#[0-9a-f]{6}$", colour)) if colour != null])
    error_message = "processor.recipe.background must be a colour like #ffffff, not ${jsonencode(try(var.processor.recipe.background, null))}."
  }

  validation {
    condition = alltrue([
      for setting, range in { max_frames = [0, 10000], max_pixels = [1, 2147483648], quality = [1, 100], effort = [0, 10] } :
      alltrue([
        for value in [try(var.processor.recipe.animation[setting], null)] :
        value >= range[0] && value <= range[1] && floor(value) == value if value != null
      ])
    ]) && alltrue([for format in [try(var.processor.recipe.animation.format, null)] : contains(["gif", "webp"], format) if format != null])
    error_message = "processor.recipe.animation must have a format of gif or webp and whole numbers: quality from 1 to 100, effort from 0 to 10, max_frames from 0 to 10000, max_pixels from 1 to 2147483648; not ${jsonencode(try(var.processor.recipe.animation, null))}."
  }

  validation {
    condition = alltrue([
      for variants in [try(var.processor.recipe.variants, null)] :
      length(variants) >= 1 && length(variants) <= 32 && alltrue([
        for variant in variants : alltrue([
          for side in [variant.width, variant.height] : side >= 16 && side <= 8192 && floor(side) == side if side != null
        ])
      ])
      if variants != null
    ])
    error_message = "processor.recipe.variants must be 1 to 32, width and height whole numbers from 16 to 8192, not ${jsonencode(try(var.processor.recipe.variants, null))}."
  }

  validation {
    condition = alltrue([
      for variant in try(coalesce(var.processor.recipe.variants, []), []) :
      contains(["attention", "centre", "focal"], coalesce(variant.crop, "centre"))
      && contains(["contain", "cover", "inside"], coalesce(variant.fit, "inside"))
      && (variant.height != null || coalesce(variant.fit, "inside") == "inside")
      && (variant.name == null ? true : can(regex("^[a-z][a-z0-9]{0,31}$", variant.name)))
    ])
    error_message = "processor.recipe.variants: crop must be attention, centre or focal; fit contain, cover or inside, the former two with a height; name up to 32 letters a-z and digits; not ${jsonencode(try(var.processor.recipe.variants, null))}."
  }

  validation {
    condition = alltrue([
      for formats in concat(
        try([for variant in var.processor.recipe.variants : variant.formats], []),
        [for formats in [try(var.processor.recipe.alpha, null), try(var.processor.recipe.graphic, null)] : formats if try(length(formats), 0) > 0],
      ) :
      length(formats) > 0 && length(distinct(formats[*].format)) == length(formats) && alltrue([
        for each in formats :
        contains(["avif", "jpeg", "png", "webp"], each.format)
        && alltrue([for value in [each.quality] : value >= 1 && value <= 100 && floor(value) == value if value != null])
        && alltrue([
          for value in [each.effort] :
          value >= 0 && value <= lookup({ avif = 9, jpeg = 1, png = 9, webp = 6 }, each.format, 0) && floor(value) == value if value != null
        ])
        && alltrue([
          for value in [try(each.quant_table, null)] :
          value >= 0 && value <= (each.format == "jpeg" ? 8 : 0) && floor(value) == value if value != null
        ])
        && !(coalesce(each.lossless, false) && each.format == "jpeg")
      ])
    ])
    error_message = "processor.recipe: formats must be avif, jpeg, png or webp, each once and at least one, quality from 1 to 100, effort from 0 to 9 (webp 6, jpeg 1), quant_table from 0 to 8 and for jpeg only, lossless not for jpeg; not ${jsonencode(var.processor.recipe)}."
  }
}

variable "region" {
  description = "Region that the functions are made in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be a region's code, like eu-west-1, not '${var.region}'."
  }
}

variable "storage" {
  description = "Buckets, queue, table and key: outputs of the storage module."
  type = object({
    backfill_queue   = object({ arn = string, url = string })
    kms_key_arn      = optional(string)
    processed_bucket = object({ arn = string, name = string })
    queue            = object({ arn = string, max_receive_count = number, url = string, visibility_timeout_seconds = number })
    table            = object({ arn = string, indexes = list(string), name = string, stream_arn = string })
    upload_bucket    = object({ arn = string, name = string })
  })
  nullable = false
}
