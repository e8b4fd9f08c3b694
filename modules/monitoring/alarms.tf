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

  # Some alarms watch a sum of metrics. CloudWatch leaves alarms on AWS/DynamoDB as they are while data is missing,
  # whatever treat_missing_data says, and throttles have no data when there are none: without zeros such an alarm would
  # never end. The newest period may be a zero that is about to change, so such an alarm needs two periods of three.
  is_sum         = { for alarm, it in local.alarms : alarm => length(it.metrics) > 1 }
  is_percentile  = { for alarm, it in local.alarms : alarm => startswith(it.statistic, "p") }
  single_metrics = { for alarm, it in local.alarms : alarm => try(one(it.metrics), null) }
}

resource "aws_cloudwatch_metric_alarm" "alarm" {
  for_each = local.alarms

  alarm_name          = local.alarm_names[each.key]
  alarm_description   = "${each.value.summary} What to do: ${var.runbook_url}#${each.key}"
  namespace           = try(local.single_metrics[each.key].namespace, null)
  metric_name         = try(local.single_metrics[each.key].name, null)
  dimensions          = try(local.single_metrics[each.key].dimensions, null)
  statistic           = local.is_sum[each.key] || local.is_percentile[each.key] ? null : each.value.statistic
  extended_statistic  = local.is_percentile[each.key] ? each.value.statistic : null
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = local.is_sum[each.key] ? null : each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = try(each.value.breaching, null)
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  # Without traffic there is no data, and no problem.
  treat_missing_data = "notBreaching"

  dynamic "metric_query" {
    for_each = local.is_sum[each.key] ? [each.value.metrics] : []

    content {
      id          = "sum"
      label       = each.key
      expression  = join(" + ", [for place, metric in metric_query.value : "FILL(m${place}, 0)"])
      return_data = true
    }
  }

  dynamic "metric_query" {
    for_each = local.is_sum[each.key] ? each.value.metrics : []

    content {
      id = "m${metric_query.key}"

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        stat        = each.value.statistic
        period      = each.value.period
      }
    }
  }
}
