# Policy of the apply role: everything that the modules manage, except roles. Written in two parts, attached as one.

data "aws_iam_policy_document" "write" {
  source_policy_documents = [
    data.aws_iam_policy_document.write_stores.json,
    data.aws_iam_policy_document.write_services.json,
  ]
}

# State, buckets, tables, queues, keys. Bootstrapping creates the state bucket and the lock table.
data "aws_iam_policy_document" "write_stores" {
  statement {
    sid       = "State"
    actions   = ["s3:PutObject"]
    resources = [local.arns.state_objects]
  }

  statement {
    sid       = "StateHome"
    actions   = ["s3:CreateBucket", "s3:PutBucket*", "s3:PutEncryptionConfiguration"]
    resources = [local.arns.state]
  }

  statement {
    sid       = "LockTable"
    actions   = ["dynamodb:CreateTable", "dynamodb:TagResource", "dynamodb:UpdateTable"]
    resources = [local.arns.lock_table]
  }

  statement {
    sid       = "Locks"
    actions   = ["dynamodb:DeleteItem", "dynamodb:PutItem"]
    resources = [local.arns.lock_table]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "dynamodb:LeadingKeys"
      values   = [local.lock_keys]
    }

    condition {
      test     = "Null"
      variable = "dynamodb:LeadingKeys"
      values   = ["false"]
    }
  }

  statement {
    sid = "Buckets"
    actions = [
      "s3:CreateBucket",
      "s3:DeleteBucket",
      "s3:DeleteBucketPolicy",
      "s3:ListBucketVersions",
      "s3:PutBucket*",
      "s3:PutEncryptionConfiguration",
      "s3:PutLifecycleConfiguration",
    ]
    resources = [local.arns.buckets]
  }

  statement {
    sid       = "Emptying"
    actions   = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
    resources = ["${local.arns.buckets}/*"]
  }

  statement {
    sid       = "Smoke"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"]
    resources = ["${local.arns.buckets}/smoke/*"]
  }

  statement {
    sid = "Tables"
    actions = [
      "dynamodb:CreateTable",
      "dynamodb:DeleteTable",
      "dynamodb:TagResource",
      "dynamodb:UntagResource",
      "dynamodb:Update*",
    ]
    resources = [local.arns.tables]
  }

  statement {
    sid = "Queues"
    actions = [
      "sqs:CreateQueue",
      "sqs:DeleteQueue",
      "sqs:SetQueueAttributes",
      "sqs:TagQueue",
      "sqs:UntagQueue",
    ]
    resources = [local.arns.queues]
  }

  # A key has no name of its own: a new one must get the environment's tag, and the tag limits all that follows.
  statement {
    sid       = "NewKey"
    actions   = ["kms:CreateKey", "kms:TagResource"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "Keys"
    actions = [
      "kms:CreateAlias",
      "kms:CreateGrant",
      "kms:DeleteAlias",
      "kms:EnableKeyRotation",
      "kms:GenerateDataKey",
      "kms:Decrypt",
      "kms:PutKeyPolicy",
      "kms:ScheduleKeyDeletion",
      "kms:TagResource",
      "kms:UntagResource",
      "kms:UpdateKeyDescription",
    ]
    resources = [local.arns.keys]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid       = "KeyAlias"
    actions   = ["kms:CreateAlias", "kms:DeleteAlias"]
    resources = [local.arns.key_aliases]
  }
}
