# The dashboard as rows of charts: images and queue, processor, API and table.

locals {
  rows = [
    [
      {
        title = "Images"
        series = [
          { label = "uploaded", metric = local.metrics.images_received, stat = "Sum" },
          { label = "processed", metric = local.metrics.images_processed, stat = "Sum" },
          { label = "rejected", metric = local.metrics.images_rejected, stat = "Sum" },
          { label = "failed", metric = local.metrics.images_failed, stat = "Sum" },
          { label = "deleted", metric = local.metrics.images_deleted, stat = "Sum" },
        ]
      },
      {
        title = "Queue"
        series = [
          { label = "waiting", metric = local.metrics.queue_waiting, stat = "Maximum" },
          { label = "in work", metric = local.metrics.queue_in_flight, stat = "Maximum" },
          { label = "dead letters", metric = local.metrics.dead_letters, stat = "Maximum" },
        ]
      },
      {
        title = "Age of the oldest message (s)"
        series = [
          { label = "age", metric = local.metrics.queue_age, stat = "Maximum" },
        ]
        limit = var.thresholds.queue_age_seconds
      },
    ],
    [
      {
        title = "Processor, per call (ms)"
        series = [
          for percentile in ["p50", "p95", "p99"] :
          { label = percentile, metric = local.metrics.processor_duration, stat = percentile }
        ]
        limit = local.alarms.processor-duration.threshold
      },
      {
        title = "Processor, per image (ms)"
        series = [
          for percentile in ["p50", "p95", "p99"] :
          { label = percentile, metric = local.metrics.processing_time, stat = percentile }
        ]
      },
      {
        title = "Processor, calls"
        series = [
          { label = "errors", metric = local.metrics.processor_errors, stat = "Sum" },
          { label = "throttled", metric = local.metrics.processor_throttles, stat = "Sum" },
          { label = "at a time", metric = local.metrics.processor_concurrency, stat = "Maximum" },
        ]
      },
    ],
    [
      {
        title = "API, requests"
        series = [
          { label = "all", metric = local.metrics.api_calls, stat = "Sum" },
          { label = "4xx", metric = local.metrics.api_client_errors, stat = "Sum" },
          { label = "5xx", metric = local.metrics.api_errors, stat = "Sum" },
          { label = "throttled", metric = local.metrics.api_throttles, stat = "Sum" },
        ]
      },
      {
        title = "API, latency (ms)"
        series = [
          for percentile in ["p50", "p95", "p99"] :
          { label = percentile, metric = local.metrics.api_latency, stat = percentile }
        ]
        limit = var.thresholds.api_latency_ms
      },
      {
        title = "Table, throttled requests"
        series = flatten([
          for kind, metrics in local.table_throttles : [
            for metric in metrics : {
              label  = join(" of ", ["${kind}s", lookup(metric.dimensions, "GlobalSecondaryIndexName", "the table")])
              metric = metric
              stat   = "Sum"
            }
          ]
        ])
      },
    ],
  ]

  alarm_widget = {
    type   = "alarm"
    x      = 0
    y      = 0
    width  = 24
    height = 2
    properties = {
      title  = "Alarms"
      alarms = values(local.alarm_arns)
    }
  }

  # A dashboard is 24 units wide.
  chart_widgets = flatten([
    for y, row in local.rows : [
      for x, chart in row : {
        type   = "metric"
        x      = x * 8
        y      = 2 + y * 6
        width  = 8
        height = 6
        properties = {
          title  = chart.title
          region = var.region
          view   = "timeSeries"
          period = 60
          metrics = [
            for series in chart.series : concat(
              [series.metric.namespace, series.metric.name],
              flatten([for name, value in series.metric.dimensions : [name, value]]),
              [{ label = series.label, stat = series.stat }],
            )
          ]
          yAxis = { left = { min = 0 } }
          annotations = {
            horizontal = [for limit in try([chart.limit], []) : { label = "alarm", value = limit }]
          }
        }
      }
    ]
  ])
}

resource "aws_cloudwatch_dashboard" "pipeline" {
  dashboard_name = var.name_prefix
  dashboard_body = jsonencode({ widgets = concat([local.alarm_widget], local.chart_widgets) })
}
