# Part of the policy in policy_write.tf: functions, logs, API, events, alarms.

data "aws_iam_policy_document" "write_services" {
  statement {
    sid = "Functions"
    actions = [
      "lambda:CreateAlias",
      "lambda:CreateFunction",
      "lambda:Delete*",
      "lambda:PublishVersion",
      "lambda:PutFunctionConcurrency",
      "lambda:RemovePermission",
      "lambda:TagResource",
      "lambda:UntagResource",
      "lambda:UpdateAlias",
      "lambda:UpdateFunctionCode",
      "lambda:UpdateFunctionConfiguration",
    ]
    resources = [local.arns.functions]
  }

  # Nobody but API Gateway is let in: a permission for another account would be a lasting way in.
  statement {
    sid       = "Callers"
    actions   = ["lambda:AddPermission"]
    resources = [local.arns.functions, "${local.arns.functions}:*"]

    condition {
      test     = "StringEquals"
      variable = "lambda:Principal"
      values   = ["apigateway.amazonaws.com"]
    }
  }

  # New versions are called once before they get traffic.
  statement {
    sid       = "Trying"
    actions   = ["lambda:InvokeFunction"]
    resources = ["${local.arns.functions}:*"]
  }

  statement {
    sid = "Mappings"
    actions = [
      "lambda:CreateEventSourceMapping",
      "lambda:DeleteEventSourceMapping",
      "lambda:UpdateEventSourceMapping",
    ]
    resources = ["*"]

    condition {
      test     = "ArnLike"
      variable = "lambda:FunctionArn"
      values   = [local.arns.functions]
    }
  }

  # Mappings have random ids. A new one has no tag yet; one of another environment has that environment's.
  statement {
    sid       = "MappingTag"
    actions   = ["lambda:TagResource", "lambda:UntagResource"]
    resources = [local.arns.mappings]

    condition {
      test     = "StringEqualsIfExists"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "Logs"
    actions = [
      "logs:CreateLogGroup",
      "logs:DeleteLogGroup",
      "logs:DeleteRetentionPolicy",
      "logs:PutRetentionPolicy",
      "logs:TagResource",
      "logs:UntagResource",
    ]
    resources = local.arns.logs
  }

  # API Gateway's access logs need these, which know no names:
  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html
  statement {
    sid = "Delivery"
    actions = [
      "logs:CreateLogDelivery",
      "logs:DeleteLogDelivery",
      "logs:GetLogDelivery",
      "logs:ListLogDeliveries",
      "logs:PutResourcePolicy",
      "logs:UpdateLogDelivery",
    ]
    resources = ["*"]
  }

  # APIs have random ids. A new one must get the environment's tag; the tag limits what follows. The tags of an API that
  # exists may be written by its id only (policy_write_api.tf).
  statement {
    sid       = "NewApi"
    actions   = ["apigateway:POST", "apigateway:TagResource"]
    resources = [local.arns.api_objects[0]]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/Environment"
      values   = [var.environment]
    }
  }

  # Routes, integrations and stages count by their API's tag: the service authorization reference lists the key for all.
  # https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapigatewaymanagementv2.html
  statement {
    sid       = "Apis"
    actions   = ["apigateway:DELETE", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT"]
    resources = [local.arns.api_objects[1]]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/Environment"
      values   = [var.environment]
    }
  }

  statement {
    sid = "Buses"
    actions = [
      "events:CreateEventBus",
      "events:DeleteEventBus",
      "events:TagResource",
      "events:UntagResource",
    ]
    resources = [local.arns.buses]
  }

  statement {
    sid = "Topics"
    actions = [
      "sns:CreateTopic",
      "sns:DeleteTopic",
      "sns:SetTopicAttributes",
      "sns:Subscribe",
      "sns:TagResource",
      "sns:UntagResource",
    ]
    resources = [local.arns.topics]
  }

  statement {
    sid       = "Leaving"
    actions   = ["sns:Unsubscribe"]
    resources = ["${local.arns.topics}:*"]
  }

  statement {
    sid = "Watching"
    actions = [
      "cloudwatch:DeleteAlarms",
      "cloudwatch:DeleteDashboards",
      "cloudwatch:PutDashboard",
      "cloudwatch:PutMetricAlarm",
      "cloudwatch:TagResource",
      "cloudwatch:UntagResource",
    ]
    resources = [local.arns.alarms, local.arns.dashboards]
  }
}
