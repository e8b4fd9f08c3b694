# Second part of the policy in policy_write.tf: functions, logs, API, events, alarms.

data "aws_iam_policy_document" "write_services" {
  statement {
    sid = "Functions"
    actions = [
      "lambda:AddPermission",
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

  statement {
    sid       = "MappingTag"
    actions   = ["lambda:TagResource", "lambda:UntagResource"]
    resources = [local.arns.mappings]
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

  statement {
    sid = "Apis"
    actions = [
      "apigateway:DELETE",
      "apigateway:PATCH",
      "apigateway:POST",
      "apigateway:PUT",
      "apigateway:TagResource",
      "apigateway:UntagResource",
    ]
    resources = [local.arns.apis]
  }

  # The smoke test reads and removes its image through the API, whose id is random.
  statement {
    sid       = "Removal"
    actions   = ["execute-api:Invoke"]
    resources = [local.arns.image_removal]
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
