# What memory, seconds, bytes and the environment of a function must be to each other. Values that are valid one by one
# may break the functions later, every image of them: so they are judged together, and the plan says all that is wrong.
# image_processor/settings.py has the same rules, for `imagepipe plan`; their numbers are generated from recipe.py.

locals {
  law = local.processor_law.function

  limits = {
    for name, default in local.processor_law.limits.defaults :
    name => try(coalesce(var.processor.limits[name]), default)
  }
  file_mb = ceil(local.limits.max_bytes / 1000000)

  needs = {
    decoder_mb      = local.law.decoder_mb + local.file_mb
    environment     = { for function, variables in local.environments : function => length(jsonencode(variables)) }
    hiding_seconds  = [for times in local.law.hiding : times * var.processor.timeout_seconds]
    memory_mb       = local.law.handler_mb + local.law.decoder_mb + local.law.copies * local.file_mb
    timeout_seconds = local.law.patience * local.limits.max_seconds
  }

  wrong_processor = {
    # Every image would be refused as TOO_MUCH_MEMORY, for good.
    memory = var.processor.memory_mb >= local.needs.memory_mb ? null : format(
      "processor.memory_mb must be at least %d for files of limits.max_bytes = %d, not %d: %s.",
      local.needs.memory_mb,
      local.limits.max_bytes,
      var.processor.memory_mb,
      "raise it, to 10240 at most, or lower max_bytes",
    )

    decoder = local.limits.max_memory_mb >= local.needs.decoder_mb ? null : format(
      "processor.limits.max_memory_mb must be at least %d, or every image would be refused, not %d.",
      local.needs.decoder_mb,
      local.limits.max_memory_mb,
    )

    # An image that is waited for longer than the function may run kills it, and its neighbours wait with it.
    seconds = var.processor.timeout_seconds >= local.needs.timeout_seconds ? null : format(
      "processor.timeout_seconds must be at least %d, %d times limits.max_seconds = %d, not %d: raise it or lower %s.",
      local.needs.timeout_seconds,
      local.law.patience,
      local.limits.max_seconds,
      var.processor.timeout_seconds,
      "max_seconds",
    )

    # AWS's own advice. Below it, messages come back while they are still processed, and images are made twice.
    hidden_briefly = var.storage.queue.visibility_timeout_seconds >= local.needs.hiding_seconds[0] ? null : format(
      "The queue's visibility timeout is %d s; it must be at least %d s, %d times the processor's timeout of %d s.",
      var.storage.queue.visibility_timeout_seconds,
      local.needs.hiding_seconds[0],
      local.law.hiding[0],
      var.processor.timeout_seconds,
    )

    # Retries wait for shares of it (image_processor/intake/batch.py).
    hidden_long = var.storage.queue.visibility_timeout_seconds <= local.needs.hiding_seconds[1] ? null : format(
      "The queue's visibility timeout is %d s; it must be at most %d s, %d times the processor's timeout of %d s, %s.",
      var.storage.queue.visibility_timeout_seconds,
      local.needs.hiding_seconds[1],
      local.law.hiding[1],
      var.processor.timeout_seconds,
      "or a first retry waits longer than the function may run",
    )
  }

  # Lambda measures all variables together, as JSON, and would refuse them in the middle of an apply.
  wrong_environment = {
    for function, bytes in local.needs.environment :
    function => bytes <= local.law.environment_bytes ? null : format(
      "The environment of %s takes %d bytes, and Lambda takes %d: %s.",
      function,
      bytes,
      local.law.environment_bytes,
      "name fewer variants or formats in processor.recipe, or leave out what is the default anyway",
    )
  }

  # Sentences by function.
  problems = {
    for function, sentence in local.wrong_environment : function => compact(concat(
      [sentence],
      function == "processor" ? values(local.wrong_processor) : [],
    ))
  }
}
