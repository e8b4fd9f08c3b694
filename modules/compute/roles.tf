# One role per function, with what that function does and nothing else.

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = local.function_names

  name                 = each.value
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn == "" ? null : var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "function" {
  for_each = aws_iam_role.function

  name   = "access"
  role   = each.value.name
  policy = data.aws_iam_policy_document.function[each.key].json
}

locals {
  objects = {
    processed = "${var.storage.processed_bucket.arn}/*"
    uploads   = "${var.storage.upload_bucket.arn}/*"
  }

  statements = {
    announcer = [
      { sid = "ReadStream", actions = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"], resources = [var.storage.table.stream_arn] },
      { sid = "PutEvents", actions = ["events:PutEvents"], resources = ["arn:${data.aws_partition.current.partition}:events:${var.region}:${var.account_id}:event-bus/${local.event_bus_name}"] },
    ]

    api = [
      { sid = "ReadRecords", actions = ["dynamodb:GetItem"], resources = [var.storage.table.arn] },
      { sid = "ListRecords", actions = ["dynamodb:Query"], resources = [for index in var.storage.table.indexes : "${var.storage.table.arn}/index/${index}"] },
      # What a presigned URL allows is what its signer may do.
      { sid = "SignVariantUrls", actions = ["s3:GetObject"], resources = [local.objects.processed] },
      # The processor hears of it like of any other removal and does the rest.
      { sid = "RemoveUploads", actions = ["s3:DeleteObject"], resources = [local.objects.uploads] },
    ]

    processor = [
      { sid = "ReceiveEvents", actions = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], resources = [var.storage.backfill_queue.arn, var.storage.queue.arn] },
      { sid = "ReadUploads", actions = ["s3:GetObject", "s3:GetObjectVersion"], resources = [local.objects.uploads] },
      # Reading is for copying: the same content under another key is not made twice.
      { sid = "WriteVariants", actions = ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], resources = [local.objects.processed] },
      # Variants are found by their prefix to be removed. For uploads it makes S3 say that an object is gone instead of forbidden.
      { sid = "ListObjects", actions = ["s3:ListBucket"], resources = [var.storage.processed_bucket.arn, var.storage.upload_bucket.arn] },
      { sid = "WriteRecords", actions = ["dynamodb:GetItem", "dynamodb:UpdateItem"], resources = [var.storage.table.arn] },
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
    resources = ["arn:${data.aws_partition.current.partition}:logs:${var.region}:${var.account_id}:log-group:${local.log_group_names[each.key]}:*"]
  }

  # Only through the services that hold what the key encrypts: the functions never call KMS themselves.
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
