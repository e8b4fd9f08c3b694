# Permissions boundary: the most that a function's role may do, whatever policies the apply role gives it.

data "aws_iam_policy_document" "boundary" {
  statement {
    sid = "Objects"
    actions = [
      "s3:DeleteObject",
      "s3:GetObject",
      "s3:GetObjectVersion",
      "s3:ListBucket",
      "s3:PutObject",
    ]
    resources = [local.arns.buckets, "${local.arns.buckets}/*"]
  }

  statement {
    sid = "Records"
    actions = [
      "dynamodb:DescribeStream",
      "dynamodb:GetItem",
      "dynamodb:GetRecords",
      "dynamodb:GetShardIterator",
      "dynamodb:ListStreams",
      "dynamodb:Query",
      "dynamodb:UpdateItem",
    ]
    resources = [local.arns.tables]
  }

  statement {
    sid = "Messages"
    actions = [
      "sqs:ChangeMessageVisibility",
      "sqs:DeleteMessage",
      "sqs:GetQueueAttributes",
      "sqs:ReceiveMessage",
    ]
    resources = [local.arns.queues]
  }

  statement {
    sid       = "Events"
    actions   = ["events:PutEvents"]
    resources = [local.arns.buses]
  }

  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = local.arns.logs
  }

  statement {
    sid       = "Keys"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    resources = [local.arns.keys]

    condition {
      test     = "ForAnyValue:StringEquals"
      variable = "kms:ResourceAliases"
      values   = [local.key_alias]
    }
  }
}

resource "aws_iam_policy" "boundary" {
  name        = "${var.name_prefix}-boundary"
  description = "The most that functions of ${var.name_prefix} may do"
  policy      = data.aws_iam_policy_document.boundary.minified_json
}
