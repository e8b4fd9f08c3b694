# What the people on call look at: one dashboard, few alarms, one topic. Everything it shows are metrics that the services
# and the processor publish anyway; none is made from log lines.

data "aws_partition" "current" {}

locals {
  alarm_names = { for alarm in keys(local.alarms) : alarm => "${var.name_prefix}-${alarm}" }
  alarm_arns = {
    for alarm, name in local.alarm_names :
    alarm => "arn:${data.aws_partition.current.partition}:cloudwatch:${var.region}:${var.account_id}:alarm:${name}"
  }

  topic_name = "${var.name_prefix}-alarms"
  topic_arn  = "arn:${data.aws_partition.current.partition}:sns:${var.region}:${var.account_id}:${local.topic_name}"

  # One metric as it is counted: what both a widget and an alarm need to know of it.
  metrics = {
    announcer_age         = { namespace = "AWS/Lambda", name = "IteratorAge", dimensions = local.dimensions.announcer }
    api_calls             = { namespace = "AWS/ApiGateway", name = "Count", dimensions = local.dimensions.api }
    api_client_errors     = { namespace = "AWS/ApiGateway", name = "4xx", dimensions = local.dimensions.api }
    api_errors            = { namespace = "AWS/ApiGateway", name = "5xx", dimensions = local.dimensions.api }
    api_latency           = { namespace = "AWS/ApiGateway", name = "Latency", dimensions = local.dimensions.api }
    dead_letters          = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.storage.dead_letter_queue.name } }
    images_deleted        = { namespace = var.name_prefix, name = "ImagesDeleted", dimensions = local.dimensions.images }
    images_failed         = { namespace = var.name_prefix, name = "ImagesFailed", dimensions = local.dimensions.images }
    images_processed      = { namespace = var.name_prefix, name = "ImagesProcessed", dimensions = local.dimensions.images }
    images_received       = { namespace = var.name_prefix, name = "ImagesReceived", dimensions = local.dimensions.images }
    images_rejected       = { namespace = var.name_prefix, name = "ImagesRejected", dimensions = local.dimensions.images }
    processing_time       = { namespace = var.name_prefix, name = "ProcessingTime", dimensions = local.dimensions.images }
    processor_duration    = { namespace = "AWS/Lambda", name = "Duration", dimensions = local.dimensions.processor }
    processor_errors      = { namespace = "AWS/Lambda", name = "Errors", dimensions = local.dimensions.processor }
    processor_concurrency = { namespace = "AWS/Lambda", name = "ConcurrentExecutions", dimensions = local.dimensions.processor }
    processor_throttles   = { namespace = "AWS/Lambda", name = "Throttles", dimensions = local.dimensions.processor }
    queue_age             = { namespace = "AWS/SQS", name = "ApproximateAgeOfOldestMessage", dimensions = { QueueName = var.storage.queue.name } }
    queue_in_flight       = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesNotVisible", dimensions = { QueueName = var.storage.queue.name } }
    queue_waiting         = { namespace = "AWS/SQS", name = "ApproximateNumberOfMessagesVisible", dimensions = { QueueName = var.storage.queue.name } }
    table_read_throttles  = { namespace = "AWS/DynamoDB", name = "ReadThrottleEvents", dimensions = { TableName = var.storage.table.name } }
    table_write_throttles = { namespace = "AWS/DynamoDB", name = "WriteThrottleEvents", dimensions = { TableName = var.storage.table.name } }
  }

  dimensions = {
    announcer = { FunctionName = var.functions.announcer.name }
    api       = { ApiId = var.api.api_id, Stage = var.api.stage }
    images    = { service = "processor" }
    processor = { FunctionName = var.functions.processor.name }
  }
}

# Not encrypted with KMS: CloudWatch can publish to such a topic only under a key of one's own, and an alarm's text holds
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
