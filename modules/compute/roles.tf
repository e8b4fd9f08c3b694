# What each function's role may do: the calls that the function makes. The roles are made by modules/ci-access, with a
# boundary that these policies cannot exceed.

resource "aws_iam_role_policy" "function" {
  for_each = local.function_names

  name   = "access"
  role   = local.role_names[each.key]
  policy = data.aws_iam_policy_document.function[each.key].json
}

locals {
  objects = {
    processed = "${var.storage.processed_bucket.arn}/*"
    uploads   = "${var.storage.upload_bucket.arn}/*"
  }

  partition_arn = "arn:${data.aws_partition.current.partition}"
  event_bus_arn = "${local.partition_arn}:events:${var.region}:${var.account_id}:event-bus/${local.event_bus_name}"
  log_groups    = "${local.partition_arn}:logs:${var.region}:${var.account_id}:log-group"

  statements = {
    announcer = [
      {
        sid = "ReadStream"
        actions = [
          "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams",
        ]
        resources = [var.storage.table.stream_arn]
      },
      {
        sid       = "PutEvents"
        actions   = ["events:PutEvents"]
        resources = [local.event_bus_arn]
      },
    ]

    api = [
      {
        sid       = "ReadRecords"
        actions   = ["dynamodb:GetItem"]
        resources = [var.storage.table.arn]
      },
      {
        sid       = "ListRecords"
        actions   = ["dynamodb:Query"]
        resources = [for index in var.storage.table.indexes : "${var.storage.table.arn}/index/${index}"]
      },
      # A presigned URL allows what its signer may do.
      {
        sid       = "SignVariantUrls"
        actions   = ["s3:GetObject"]
        resources = [local.objects.processed]
      },
      # The processor gets the event of the removal and does the rest.
      {
        sid       = "RemoveUploads"
        actions   = ["s3:DeleteObject"]
        resources = [local.objects.uploads]
      },
    ]

    processor = [
      {
        sid = "ReceiveEvents"
        actions = [
          "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage",
        ]
        resources = [var.storage.backfill_queue.arn, var.storage.queue.arn]
      },
      {
        sid       = "ReadUploads"
        actions   = ["s3:GetObject", "s3:GetObjectVersion"]
        resources = [local.objects.uploads]
      },
      # Reading is for copying: variants of the same content under another key are copied.
      {
        sid       = "WriteVariants"
        actions   = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        resources = [local.objects.processed]
      },
      # Variants are listed by prefix to be removed. For uploads the right makes S3 answer "not there", not "forbidden".
      {
        sid       = "ListObjects"
        actions   = ["s3:ListBucket"]
        resources = [var.storage.processed_bucket.arn, var.storage.upload_bucket.arn]
      },
      {
        sid       = "WriteRecords"
        actions   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
        resources = [var.storage.table.arn]
      },
    ]
  }

  key_actions = {
    announcer = ["kms:Decrypt", "kms:DescribeKey"]
    api       = ["kms:Decrypt", "kms:DescribeKey"]
    processor = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
  }
}

data "aws_iam_policy_document" "function" {
  for_each = local.function_names

  dynamic "statement" {
    for_each = local.statements[each.key]

    content {
      sid       = statement.value.sid
      actions   = statement.value.actions
      resources = statement.value.resources
    }
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.log_groups}:${local.log_group_names[each.key]}:*"]
  }

  # Through the services that use the key for encryption only: the functions never call KMS themselves.
  dynamic "statement" {
    for_each = var.storage.kms_key_arn == null ? [] : [var.storage.kms_key_arn]

    content {
      sid       = "UseStorageKey"
      actions   = local.key_actions[each.key]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = [for service in ["dynamodb", "s3", "sqs"] : "${service}.${var.region}.amazonaws.com"]
      }
    }
  }
}
