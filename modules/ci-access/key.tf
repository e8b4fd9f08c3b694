# One key for buckets, queues and table, if customer_managed_key is set. It costs a dollar a month. An administrator
# makes it: whoever deploys must not be able to take it over, so no role may change a key, an alias or a tag.

locals {
  upload_bucket_arn = "${local.arn}:s3:::${var.name_prefix}-uploads-${var.account_id}-${var.region}"

  # The alias names the key in policies: an id is made up by AWS, and a tag could be put on any other key.
  # https://docs.aws.amazon.com/kms/latest/developerguide/alias-authorization.html
  key_alias = "alias/${var.name_prefix}"

  # Who creates a table under a key, DynamoDB makes a grant for: in his name, and for itself only.
  # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
  key_actions = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
  key_users   = [for service in ["dynamodb", "s3", "sqs"] : "${service}.${var.region}.amazonaws.com"]
}

resource "aws_kms_key" "storage" {
  count = var.customer_managed_key ? 1 : 0

  description             = "Images, events and records of ${var.name_prefix}"
  deletion_window_in_days = 30
  enable_key_rotation     = true
  policy                  = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "storage" {
  count = var.customer_managed_key ? 1 : 0

  name          = local.key_alias
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
      identifiers = ["${local.iam}:root"]
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
      values   = [local.upload_bucket_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}
