# Policies and redrive rules are attributes of the queues, not resources of their own: the provider watches every queue
# and every such resource for 25 seconds, one after another where they depend on each other. A dead-letter queue must
# exist before another queue names it, so there are at least two waits.

resource "aws_sqs_queue" "dead_letters" {
  name                      = local.queue_names.dead_letters
  message_retention_seconds = var.queue.dead_letter_retention_days * 86400
  kms_master_key_id         = local.kms_key_arn
  sqs_managed_sse_enabled   = local.own_key ? null : true
  policy                    = data.aws_iam_policy_document.queue["dead_letters"].json

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arns.backfill, local.queue_arns.uploads]
  })
}

resource "aws_sqs_queue" "uploads" {
  name                       = local.queue_names.uploads
  message_retention_seconds  = var.queue.retention_days * 86400
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = var.queue.visibility_timeout_seconds
  kms_master_key_id          = local.kms_key_arn
  sqs_managed_sse_enabled    = local.own_key ? null : true
  policy                     = data.aws_iam_policy_document.uploads.json

  redrive_policy = jsonencode({
    deadLetterTargetArn = local.queue_arns.dead_letters
    maxReceiveCount     = var.queue.max_receive_count
  })

  depends_on = [aws_sqs_queue.dead_letters]
}

# Images to be processed again have a queue of their own, so that no upload waits behind them. Failed messages end in
# the same dead-letter queue, the one place to look; the body says which queue a message came from.
resource "aws_sqs_queue" "backfill" {
  name                       = local.queue_names.backfill
  message_retention_seconds  = var.queue.retention_days * 86400
  receive_wait_time_seconds  = 20
  visibility_timeout_seconds = var.queue.visibility_timeout_seconds
  kms_master_key_id          = local.kms_key_arn
  sqs_managed_sse_enabled    = local.own_key ? null : true
  policy                     = data.aws_iam_policy_document.queue["backfill"].json

  redrive_policy = jsonencode({
    deadLetterTargetArn = local.queue_arns.dead_letters
    maxReceiveCount     = var.queue.max_receive_count
  })

  depends_on = [aws_sqs_queue.dead_letters]
}

data "aws_iam_policy_document" "queue" {
  for_each = local.queue_arns

  statement {
    sid       = "DenyInsecureTransport"
    effect    = "Deny"
    actions   = ["sqs:*"]
    resources = [each.value]

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

data "aws_iam_policy_document" "uploads" {
  source_policy_documents = [data.aws_iam_policy_document.queue["uploads"].json]

  statement {
    sid       = "AllowUploadsBucket"
    actions   = ["sqs:SendMessage"]
    resources = [local.queue_arns.uploads]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.bucket_arns.uploads]
    }

    # A bucket's ARN holds no account: whoever takes a freed bucket name must not inherit the right to send.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}
