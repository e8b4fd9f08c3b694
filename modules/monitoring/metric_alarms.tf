# The alarms of alarms.tf as CloudWatch takes them.

locals {
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
