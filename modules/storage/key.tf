# One key for buckets, queues and table, if customer_managed_key is set. It costs a dollar a month.

resource "aws_kms_key" "storage" {
  count = var.customer_managed_key ? 1 : 0

  description             = "Images, events and records of ${var.name_prefix}"
  deletion_window_in_days = 30
  enable_key_rotation     = true
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "storage" {
  count = var.customer_managed_key ? 1 : 0

  name          = "alias/${var.name_prefix}"
  target_key_id = aws_kms_key.storage[0].key_id
}

data "aws_iam_policy_document" "key" {
  # IAM policies decide who may use the key, as for everything else in the account.
  statement {
    sid       = "AllowIamPolicies"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${var.account_id}:root"]
    }
  }

  # S3 encrypts its messages to the queue as itself; no IAM policy can allow that.
  statement {
    sid       = "AllowUploadsBucketToSend"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.bucket_arns.uploads]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}
