# Alarms as data. Each asks a person to act, and docs/operations.md has a section of the same name. AWS charges for each
# metric of an alarm beyond ten in an account: docs/costs.md counts them.

locals {
  alarms = {
    announcer-age = {
      summary = join(" ", [
        "Events about images are sent more than ${var.thresholds.announcer_age_seconds} s late;",
        "those not sent within 24 hours are lost.",
      ])
      metrics   = [local.metrics.announcer_age]
      statistic = "Maximum"
      threshold = var.thresholds.announcer_age_seconds * 1000
      period    = 60
      periods   = 5
    }

    api-errors = {
      summary   = "The API answers requests with 5xx."
      metrics   = [local.metrics.api_errors]
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 2
    }

    api-latency = {
      summary   = "One request in a hundred takes longer than ${var.thresholds.api_latency_ms} ms."
      metrics   = [local.metrics.api_latency]
      statistic = "p99"
      threshold = var.thresholds.api_latency_ms
      period    = 300
      periods   = 3
    }

    dead-letters = {
      summary = join(" ", [
        "Images could not be processed and wait in the dead-letter queue:",
        "make failures shows which and why, make redrive sends them back.",
      ])
      metrics   = [local.metrics.dead_letters]
      statistic = "Maximum"
      threshold = 0
      period    = 60
      periods   = 1
    }

    decoder-unconfined = {
      summary = join(" ", [
        "Images are decoded by a process that could reach the function's credentials if a file took it over:",
        "the kernel did not let it confine itself.",
      ])
      metrics   = [local.metrics.decoder_unconfined]
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 1
    }

    processor-duration = {
      summary   = "The processor takes almost its timeout of ${var.functions.processor.timeout_seconds} s."
      metrics   = [local.metrics.processor_duration]
      statistic = "p99"
      threshold = var.thresholds.processor_duration_share * var.functions.processor.timeout_seconds * 1000
      period    = 300
      periods   = 3
    }

    processor-errors = {
      summary = join(" ", [
        "Calls of the processor fail as a whole: it crashes, runs out of memory or time, or cannot start.",
        "make failures shows the images.",
      ])
      metrics   = [local.metrics.processor_errors]
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
    }

    processor-throttles = {
      summary = join(" ", [
        "Lambda refuses to run more processors at once.",
        "Messages use up their deliveries meanwhile, and end as dead letters that nobody has tried.",
      ])
      metrics   = [local.metrics.processor_throttles]
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
      breaching = 2
    }

    queue-age = {
      summary = join(" ", [
        "An upload has waited longer than ${var.thresholds.queue_age_seconds} s.",
        "Afterwards, make reconcile shows whether images were lost.",
      ])
      metrics   = [local.metrics.queue_age]
      statistic = "Maximum"
      threshold = var.thresholds.queue_age_seconds
      period    = 60
      periods   = 5
    }

    table-read-throttles = {
      summary   = "DynamoDB throttles reads of image records, in the table or in an index."
      metrics   = local.table_throttles.read
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
      breaching = 2
    }

    table-write-throttles = {
      summary   = "DynamoDB throttles writes of image records, in the table or in an index."
      metrics   = local.table_throttles.write
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
      breaching = 2
    }
  }
}
