# Policy of both roles: read the configuration of all resources, and the environment's state. No image, record, message.

data "aws_iam_policy_document" "read" {
  statement {
    sid       = "State"
    actions   = ["s3:GetObject"]
    resources = [local.arns.state_objects]
  }

  statement {
    sid       = "StateHome"
    actions   = ["s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:ListBucket"]
    resources = [local.arns.state]
  }

  statement {
    sid       = "LockTable"
    actions   = ["dynamodb:Describe*", "dynamodb:ListTagsOfResource"]
    resources = [local.arns.lock_table]
  }

  statement {
    sid       = "Digests"
    actions   = ["dynamodb:GetItem"]
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
    sid       = "Buckets"
    actions   = ["s3:Get*Configuration", "s3:GetBucket*", "s3:ListBucket"]
    resources = [local.arns.buckets]
  }

  statement {
    sid       = "Tables"
    actions   = ["dynamodb:Describe*", "dynamodb:ListTagsOfResource"]
    resources = [local.arns.tables]
  }

  statement {
    sid       = "Queues"
    actions   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags"]
    resources = [local.arns.queues]
  }

  statement {
    sid       = "Functions"
    actions   = ["lambda:Get*", "lambda:List*"]
    resources = [local.arns.functions, local.arns.mappings]
  }

  statement {
    sid       = "Apis"
    actions   = ["apigateway:GET"]
    resources = [local.arns.apis]
  }

  statement {
    sid       = "Buses"
    actions   = ["events:DescribeEventBus", "events:ListTagsForResource"]
    resources = [local.arns.buses]
  }

  statement {
    sid       = "Topics"
    actions   = ["sns:Get*", "sns:List*"]
    resources = [local.arns.topics]
  }

  statement {
    sid       = "Roles"
    actions   = ["iam:Get*", "iam:List*"]
    resources = concat([local.arns.roles, local.boundary_arn, local.provider_arn], local.arns.ci)
  }

  statement {
    sid       = "Keys"
    actions   = ["kms:Describe*", "kms:GetKey*", "kms:List*"]
    resources = [local.arns.keys]

    condition {
      test     = "ForAnyValue:StringEquals"
      variable = "kms:ResourceAliases"
      values   = [local.key_alias]
    }
  }

  statement {
    sid = "Registry"
    actions = [
      "ecr:BatchGetImage",
      "ecr:Describe*",
      "ecr:GetDownloadUrlForLayer",
      "ecr:GetLifecyclePolicy",
      "ecr:GetRepositoryPolicy",
      "ecr:ListTagsForResource",
    ]
    resources = [local.arns.registry]
  }

  # These actions take no resource name, or list all resources.
  statement {
    sid = "Unnamed"
    actions = [
      "cloudwatch:Describe*",
      "cloudwatch:Get*",
      "cloudwatch:List*",
      "kms:ListAliases",
      "lambda:GetAccountSettings",
      "lambda:GetEventSourceMapping",
      "lambda:ListEventSourceMappings",
      "logs:Describe*",
      "logs:ListTagsForResource",
    ]
    resources = ["*"]
  }

  statement {
    sid    = "NoData"
    effect = "Deny"
    actions = [
      "dynamodb:BatchGetItem",
      "dynamodb:Query",
      "dynamodb:Scan",
      "lambda:GetFunctionUrlConfig",
      "logs:GetLogEvents",
      "sqs:ReceiveMessage",
    ]
    resources = ["*"]
  }
}
