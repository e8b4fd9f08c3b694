# Alarms as data. Each stands for something that a person has to do, and its section in docs/operations.md has the same name.
# Ten alarms are free, so an alarm watches one metric and there are no more than ten.

locals {
  alarms = {
    announcer-age = {
      summary   = "What became of images is told more than ${var.thresholds.announcer_age_seconds} s late; what is not told within 24 hours never is."
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
      summary   = "Images could not be processed and wait in the dead-letter queue: make failures says which and why, make redrive puts them back."
      metric    = local.metrics.dead_letters
      statistic = "Maximum"
      threshold = 0
      period    = 60
      periods   = 1
    }

    processor-duration = {
      summary   = "The processor comes close to its timeout of ${var.functions.processor.timeout_seconds} s."
      metric    = local.metrics.processor_duration
      statistic = "p99"
      threshold = var.thresholds.processor_duration_share * var.functions.processor.timeout_seconds * 1000
      period    = 300
      periods   = 3
    }

    processor-errors = {
      summary   = "Calls of the processor fail as a whole: it crashes, runs out of memory or out of time, or cannot start. make failures says which images it was."
      metric    = local.metrics.processor_errors
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
    }

    processor-throttles = {
      summary   = "Lambda refuses to run more processors at a time."
      metric    = local.metrics.processor_throttles
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 3
    }

    queue-age = {
      summary   = "An upload has waited for longer than ${var.thresholds.queue_age_seconds} s; when it is over, make reconcile says whether anything was lost."
      metric    = local.metrics.queue_age
      statistic = "Maximum"
      threshold = var.thresholds.queue_age_seconds
      period    = 60
      periods   = 5
    }

    table-read-throttles = {
      summary   = "DynamoDB holds reads of image records back."
      metric    = local.metrics.table_read_throttles
      statistic = "Sum"
      threshold = 0
      period    = 300
      periods   = 2
    }

    table-write-throttles = {
      summary   = "DynamoDB holds writes of image records back."
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

  # No traffic is no trouble.
  treat_missing_data = "notBreaching"
}
