# Alarms as data. Each asks a person to act, and docs/operations.md has a section of the same name.
# Ten alarms are free, so there are no more than ten, and each watches one metric.

locals {
  alarms = {
    announcer-age = {
      summary = join(" ", [
        "Events about images are sent more than ${var.thresholds.announcer_age_seconds} s late;",
        "those not sent within 24 hours are lost.",
      ])
      metric    = local.metrics.announcer_age
      statistic = "Maximum"
      threshold = var.thresholds.announcer_age_seconds * 1000
      period    = 60
      periods   = 5
    }

    api-errors = {
      summary   = "The API answers requests with 5xx."
      metric    = local.metrics.api_errors
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 2
    }

    api-latency = {
      summary   = "One request in a hundred takes longer than ${var.thresholds.api_latency_ms} ms."
      metric    = local.metrics.api_latency
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
      metric    = local.metrics.dead_letters
      statistic = "Maximum"
      threshold = 0
      period    = 60
      periods   = 1
    }

    processor-duration = {
      summary   = "The processor takes almost its timeout of ${var.functions.processor.timeout_seconds} s."
      metric    = local.metrics.processor_duration
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
      metric    = local.metrics.processor_errors
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
    }

    processor-throttles = {
      summary   = "Lambda refuses to run more processors at once."
      metric    = local.metrics.processor_throttles
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
    }

    queue-age = {
      summary = join(" ", [
        "An upload has waited longer than ${var.thresholds.queue_age_seconds} s.",
        "Afterwards, make reconcile shows whether images were lost.",
      ])
      metric    = local.metrics.queue_age
      statistic = "Maximum"
      threshold = var.thresholds.queue_age_seconds
      period    = 60
      periods   = 5
    }

    table-read-throttles = {
      summary   = "DynamoDB throttles reads of image records."
      metric    = local.metrics.table_read_throttles
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 2
    }

    table-write-throttles = {
      summary   = "DynamoDB throttles writes of image records."
      metric    = local.metrics.table_write_throttles
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 2
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  alarm_name          = local.alarm_names[each.key]
  alarm_description   = "${each.value.summary} What to do: ${var.runbook_url}#${each.key}"
  namespace           = each.value.metric.namespace
  metric_name         = each.value.metric.name
  dimensions          = each.value.metric.dimensions
  statistic           = startswith(each.value.statistic, "p") ? null : each.value.statistic
  extended_statistic  = startswith(each.value.statistic, "p") ? each.value.statistic : null
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.periods
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  # Without traffic there is no data, and no problem.
  treat_missing_data = "notBreaching"
}
