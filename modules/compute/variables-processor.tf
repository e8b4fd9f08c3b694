# What the processor is, what it makes and what it refuses. The marked parts follow from the law of recipe and limits,
# lambda-image/src/image_processor/recipe.py: change it there, then run `make generate`.

variable "processor" {
  description = "Size and number of the functions that make variants, what they make (`recipe`) and refuse (`limits`)."
  type = object({
    backfill_concurrency = optional(number, 2)
    batch_size           = optional(number, 4)
    ephemeral_storage_mb = optional(number, 512)
    maximum_concurrency  = optional(number, 10)
    memory_mb            = optional(number, 1769)
    timeout_seconds      = optional(number, 60)

    # generated: types, by make generate from recipe.py
    limits = optional(object({
      formats                = optional(list(string))
      images_per_worker      = optional(number)
      max_bytes              = optional(number)
      max_frames             = optional(number)
      max_memory_mb          = optional(number)
      max_metadata_bytes     = optional(number)
      max_pixels             = optional(number)
      max_pixels_per_byte    = optional(number)
      max_progressive_pixels = optional(number)
      max_seconds            = optional(number)
      max_side               = optional(number)
      require_confinement    = optional(bool)
    }))

    recipe = optional(object({
      alpha = optional(list(object({
        effort      = optional(number)
        format      = string
        lossless    = optional(bool)
        quality     = optional(number)
        quant_table = optional(number)
      })))
      animation = optional(object({
        effort     = optional(number)
        format     = optional(string)
        max_frames = optional(number)
        max_pixels = optional(number)
        quality    = optional(number)
      }))
      background = optional(string)
      gps        = optional(bool)
      graphic = optional(list(object({
        effort      = optional(number)
        format      = string
        lossless    = optional(bool)
        quality     = optional(number)
        quant_table = optional(number)
      })))
      partial = optional(bool)
      variants = optional(list(object({
        crop = optional(string)
        fit  = optional(string)
        formats = list(object({
          effort      = optional(number)
          format      = string
          lossless    = optional(bool)
          quality     = optional(number)
          quant_table = optional(number)
        }))
        height = optional(number)
        name   = optional(string)
        width  = number
      })))
      wide_gamut = optional(bool)
    }))
    # end of generated
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
    condition = var.processor.ephemeral_storage_mb >= 512 && var.processor.ephemeral_storage_mb <= 10240
    error_message = format(
      "processor.ephemeral_storage_mb must be from 512 to 10240, not %s.",
      var.processor.ephemeral_storage_mb,
    )
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

  # The processor checks recipe and limits too, but only once it runs. What is refused here never gets that far.

  validation {
    condition = alltrue([
      for name, range in local.processor_law.limits.ranges : alltrue([
        for value in [try(var.processor.limits[name], null)] :
        value >= range[0] && value <= range[1] && floor(value) == value if value != null
      ])
    ])
    error_message = format(
      "processor.limits must be whole numbers (%s), not %s.",
      join(", ", [
        for name, range in local.processor_law.limits.ranges : "${name} from ${range[0]} to ${range[1]}"
      ]),
      jsonencode(var.processor.limits),
    )
  }

  validation {
    condition = alltrue([
      for formats in [try(var.processor.limits.formats, null)] :
      length(formats) > 0 && length(setsubtract(formats, local.processor_law.limits.choices.formats)) == 0
      if formats != null
    ])
    error_message = format(
      "processor.limits.formats must be a list of some of %s, not %s.",
      join(", ", local.processor_law.limits.choices.formats),
      jsonencode(try(var.processor.limits.formats, null)),
    )
  }

  validation {
    condition = alltrue([
      for colour in [try(var.processor.recipe.background, null)] :
      can(regex(local.processor_law.recipe.patterns.background, colour)) if colour != null
    ])
    error_message = format(
      "processor.recipe.background must be %s, not %s.",
      local.processor_law.recipe.forms.background,
      jsonencode(try(var.processor.recipe.background, null)),
    )
  }

  validation {
    condition = alltrue([
      for animation in [try(var.processor.recipe.animation, null)] :
      alltrue([
        for name, range in local.processor_law.animation.ranges : alltrue([
          for value in [animation[name]] :
          value >= range[0] && value <= range[1] && floor(value) == value if value != null
        ])
      ])
      && coalesce(animation.effort, 0) <= lookup(
        local.processor_law.animation.efforts,
        coalesce(animation.format, local.processor_law.animation.default_format),
        -1,
      )
      if animation != null
    ])
    error_message = format(
      "processor.recipe.animation must have one of the formats %s and whole numbers (%s; %s), not %s.",
      join(", ", local.processor_law.animation.choices.format),
      join(", ", [
        for name, range in local.processor_law.animation.ranges : "${name} from ${range[0]} to ${range[1]}"
      ]),
      format("effort by format to %s", join(", ", [
        for format, most in local.processor_law.animation.efforts : "${most} (${format})"
      ])),
      jsonencode(try(var.processor.recipe.animation, null)),
    )
  }

  validation {
    condition = alltrue([
      for variants in [try(var.processor.recipe.variants, null)] :
      length(variants) >= local.processor_law.recipe.ranges.variants[0]
      && length(variants) <= local.processor_law.recipe.ranges.variants[1]
      && alltrue(flatten([
        for variant in variants : [
          for name, range in local.processor_law.variant.ranges : [
            for side in [variant[name]] :
            side >= range[0] && side <= range[1] && floor(side) == side if side != null
          ]
        ]
      ]))
      if variants != null
    ])
    error_message = format(
      "processor.recipe.variants must be %s; in each %s must be whole numbers; not %s.",
      join(" to ", local.processor_law.recipe.ranges.variants),
      join(" and ", [
        for name, range in local.processor_law.variant.ranges : "${name} from ${range[0]} to ${range[1]}"
      ]),
      jsonencode(try(var.processor.recipe.variants, null)),
    )
  }

  validation {
    condition = alltrue([
      for variant in try(coalesce(var.processor.recipe.variants, []), []) :
      contains(local.processor_law.variant.choices.crop, coalesce(variant.crop, "centre"))
      && contains(local.processor_law.variant.choices.fit, coalesce(variant.fit, "inside"))
      && (variant.height != null || coalesce(variant.fit, "inside") == "inside")
      && (variant.name == null ? true : can(regex(local.processor_law.variant.patterns.name, variant.name)))
    ])
    error_message = format(
      "processor.recipe.variants: crop must be one of %s; fit one of %s, %s; name %s; not %s.",
      join(", ", local.processor_law.variant.choices.crop),
      join(", ", local.processor_law.variant.choices.fit),
      "with a height unless it is inside",
      local.processor_law.variant.forms.name,
      jsonencode(try(var.processor.recipe.variants, null)),
    )
  }

  # A variant without a name is named by its size, as VariantSpec does.
  validation {
    condition = alltrue([
      for names in [[
        for variant in try(coalesce(var.processor.recipe.variants, []), []) :
        try(coalesce(variant.name), "w${variant.width}${variant.height == null ? "" : "h${variant.height}"}")
      ]] : length(distinct(names)) == length(names)
    ])
    error_message = format(
      "processor.recipe.variants must have names that differ (without a name: w<width>h<height>), not %s.",
      jsonencode(try(var.processor.recipe.variants, null)),
    )
  }

  validation {
    condition = alltrue([
      for formats in concat(
        try([for variant in var.processor.recipe.variants : variant.formats], []),
        [
          for formats in [try(var.processor.recipe.alpha, null), try(var.processor.recipe.graphic, null)] :
          formats if try(length(formats), 0) > 0
        ],
      ) :
      length(formats) > 0 && length(distinct(formats[*].format)) == length(formats) && alltrue([
        for encoding in formats :
        contains(local.processor_law.encoding.choices.format, encoding.format)
        && alltrue(flatten([
          for name, range in local.processor_law.encoding.ranges : [
            for value in [encoding[name]] :
            value >= range[0] && value <= range[1] && floor(value) == value if value != null
          ]
        ]))
        && coalesce(encoding.effort, 0) <= lookup(local.processor_law.encoding.efforts, encoding.format, 0)
        && coalesce(encoding.quant_table, 0) <= lookup(local.processor_law.encoding.quant_tables, encoding.format, 0)
        && (!coalesce(encoding.lossless, false)
        || contains(local.processor_law.encoding.lossless_formats, encoding.format))
      ])
    ])
    error_message = format(
      "processor.recipe: formats must be at least one, each once, of %s, with whole numbers (%s); %s; not %s.",
      join(", ", local.processor_law.encoding.choices.format),
      join(", ", [
        for name, range in local.processor_law.encoding.ranges : "${name} from ${range[0]} to ${range[1]}"
      ]),
      join("; ", [
        "effort by format to ${jsonencode(local.processor_law.encoding.efforts)}",
        "quant_table for ${join(", ", keys(local.processor_law.encoding.quant_tables))} only",
        "lossless for ${join(", ", local.processor_law.encoding.lossless_formats)} only",
      ]),
      jsonencode(var.processor.recipe),
    )
  }
}

locals {
  # generated: law, by make generate from recipe.py
  processor_law = {
    animation = {
      choices = {
        format = ["gif", "webp"]
      }
      ranges = {
        effort     = [0, 10]
        max_frames = [0, 10000]
        max_pixels = [1, 2147483648]
        quality    = [1, 100]
      }
      efforts = {
        gif  = 10
        webp = 6
      }
      default_format = "webp"
    }
    encoding = {
      choices = {
        format = ["avif", "jpeg", "png", "webp"]
      }
      ranges = {
        effort      = [0, 9]
        quality     = [1, 100]
        quant_table = [0, 8]
      }
      efforts = {
        avif = 9
        jpeg = 1
        png  = 9
        webp = 6
      }
      lossless_formats = ["avif", "png", "webp"]
      quant_tables = {
        jpeg = 8
      }
    }
    limits = {
      choices = {
        formats = ["jpeg", "png", "gif", "webp", "tiff", "avif", "heic"]
      }
      ranges = {
        images_per_worker      = [1, 10000]
        max_bytes              = [1, 5368709120]
        max_frames             = [1, 100000]
        max_memory_mb          = [64, 10240]
        max_metadata_bytes     = [1, 2147483648]
        max_pixels             = [1, 2147483648]
        max_pixels_per_byte    = [1, 2147483648]
        max_progressive_pixels = [1, 2147483648]
        max_seconds            = [1, 900]
        max_side               = [1, 65535]
      }
      defaults = {
        max_bytes     = 67108864
        max_memory_mb = 1400
        max_seconds   = 10
      }
    }
    recipe = {
      forms = {
        background = "a colour like #ffffff"
      }
      patterns = {
        background = "^#[0-9a-f]{6}$"
      }
      ranges = {
        variants = [1, 32]
      }
    }
    variant = {
      choices = {
        crop = ["attention", "centre", "focal"]
        fit  = ["contain", "cover", "inside"]
      }
      forms = {
        name = "up to 32 letters a-z and digits"
      }
      patterns = {
        name = "^([a-z][a-z0-9]{0,31})?$"
      }
      ranges = {
        height = [16, 8192]
        width  = [16, 8192]
      }
    }
    function = {
      copies            = 2
      decoder_mb        = 200
      environment_bytes = 4096
      handler_mb        = 300
      hiding            = [6, 36]
      patience          = 3
    }
  }
  # end of generated
}
