# One dashboard, the alarms and their topic. All metrics are published by AWS's services or by the processor; none is
# filtered from log lines.

data "aws_partition" "current" {}

locals {
  alarm_names = { for alarm in keys(local.alarms) : alarm => "${var.name_prefix}-${alarm}" }
  alarm_arns = {
    for alarm, name in local.alarm_names :
    alarm => "arn:${data.aws_partition.current.partition}:cloudwatch:${var.region}:${var.account_id}:alarm:${name}"
  }

  topic_name = "${var.name_prefix}-alarms"
  topic_arn  = "arn:${data.aws_partition.current.partition}:sns:${var.region}:${var.account_id}:${local.topic_name}"

  # Metrics by name: what a widget and an alarm need to know of them.
  metrics = merge([
    for source in local.metric_sources : {
      for metric, name in source.metrics :
      metric => { namespace = source.namespace, name = name, dimensions = source.dimensions }
    }
  ]...)

  # Throttles of the table and of each index: the dimension TableName alone does not count those of indexes. Lists read
  # indexes only, and an index that is throttled holds up the writes to its table.
  table_throttles = {
    for kind, name in { read = "ReadThrottleEvents", write = "WriteThrottleEvents" } : kind => [
      for index in concat([""], var.storage.table.indexes) : {
        namespace = "AWS/DynamoDB"
        name      = name
        dimensions = merge(
          { TableName = var.storage.table.name },
          index == "" ? {} : { GlobalSecondaryIndexName = index },
        )
      }
    ]
  }

  metric_sources = [
    {
      namespace  = "AWS/ApiGateway"
      dimensions = { ApiId = var.api.api_id, Stage = var.api.stage }
      metrics = {
        api_calls         = "Count"
        api_client_errors = "4xx"
        api_errors        = "5xx"
        api_latency       = "Latency"
      }
    },
    {
      namespace  = "AWS/Lambda"
      dimensions = { FunctionName = var.functions.announcer.name }
      metrics    = { announcer_age = "IteratorAge" }
    },
    {
      namespace  = "AWS/Lambda"
      dimensions = { FunctionName = var.functions.api.name }
      metrics    = { api_throttles = "Throttles" }
    },
    {
      namespace  = "AWS/Lambda"
      dimensions = { FunctionName = var.functions.processor.name }
      metrics = {
        processor_concurrency = "ConcurrentExecutions"
        processor_duration    = "Duration"
        processor_errors      = "Errors"
        processor_throttles   = "Throttles"
      }
    },
    {
      namespace  = "AWS/SQS"
      dimensions = { QueueName = var.storage.dead_letter_queue.name }
      metrics    = { dead_letters = "ApproximateNumberOfMessagesVisible" }
    },
    {
      namespace  = "AWS/SQS"
      dimensions = { QueueName = var.storage.queue.name }
      metrics = {
        queue_age       = "ApproximateAgeOfOldestMessage"
        queue_in_flight = "ApproximateNumberOfMessagesNotVisible"
        queue_waiting   = "ApproximateNumberOfMessagesVisible"
      }
    },
    # The processor's own: image_processor/telemetry.py writes them with its logs.
    {
      namespace  = var.name_prefix
      dimensions = { service = "processor" }
      metrics = {
        decoder_unconfined = "DecoderUnconfined"
        images_deleted     = "ImagesDeleted"
        images_failed      = "ImagesFailed"
        images_processed   = "ImagesProcessed"
        images_received    = "ImagesReceived"
        images_rejected    = "ImagesRejected"
        processing_time    = "ProcessingTime"
      }
    },
  ]
}

# Without KMS: CloudWatch can publish to an encrypted topic only with a key of the account, and an alarm's text holds
# names and numbers, no image and no record.
resource "aws_sns_topic" "alarms" {
  name = local.topic_name
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "AllowOwnAlarms"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }

  statement {
    sid       = "DenyInsecureTransport"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

resource "aws_sns_topic_subscription" "email" {
  for_each = toset(var.alarm_emails)

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}
