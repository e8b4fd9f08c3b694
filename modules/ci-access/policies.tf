# What the two roles may do, by the names of things: everything here begins with the environment's prefix. Where a service
# knows no names beforehand, a condition or the account is the limit.

locals {
  scope = "${var.region}:${var.account_id}"

  arns = {
    alarms       = "arn:${local.partition}:cloudwatch:${local.scope}:alarm:${var.name_prefix}-*"
    apis         = "arn:${local.partition}:apigateway:${var.region}::/*"
    buckets      = "arn:${local.partition}:s3:::${var.name_prefix}-*"
    buses        = "arn:${local.partition}:events:${local.scope}:event-bus/${var.name_prefix}-*"
    ci           = [for kind in ["role", "policy"] : "arn:${local.partition}:iam::${var.account_id}:${kind}/${var.name_prefix}-ci-*"]
    dashboards   = "arn:${local.partition}:cloudwatch::${var.account_id}:dashboard/${var.name_prefix}*"
    functions    = "arn:${local.partition}:lambda:${local.scope}:function:${var.name_prefix}-*"
    lock_table   = "arn:${local.partition}:dynamodb:${local.scope}:table/${var.state.lock_table}"
    logs         = [for path in ["/aws/apigateway/${var.name_prefix}", "/aws/lambda/${var.name_prefix}"] : "arn:${local.partition}:logs:${local.scope}:log-group:${path}*"]
    mappings     = "arn:${local.partition}:lambda:${local.scope}:event-source-mapping:*"
    queues       = "arn:${local.partition}:sqs:${local.scope}:${var.name_prefix}-*"
    registry     = "arn:${local.partition}:ecr:${var.region}:${var.registry.account_id}:repository/${var.registry.name}"
    roles        = "arn:${local.partition}:iam::${var.account_id}:role/${var.name_prefix}-*"
    state        = "arn:${local.partition}:s3:::${var.state.bucket}"
    state_object = "arn:${local.partition}:s3:::${var.state.bucket}/${var.state.prefix}/*"
    tables       = "arn:${local.partition}:dynamodb:${local.scope}:table/${var.name_prefix}*"
    topics       = "arn:${local.partition}:sns:${local.scope}:${var.name_prefix}-*"
  }

  # Locks are items named <bucket>/<key of the state>, and <…>-md5 beside it. ForAllValues is true of no value at all, too.
  locks = {
    "ForAllValues:StringLike" = { "dynamodb:LeadingKeys" = ["${var.state.bucket}/${var.state.prefix}/*"] }
    Null                      = { "dynamodb:LeadingKeys" = "false" }
  }

  own_tag     = { StringEquals = { "aws:ResourceTag/Environment" = var.environment } }
  own_request = { StringEquals = { "aws:RequestTag/Environment" = var.environment } }
  bounded     = { StringEquals = { "iam:PermissionsBoundary" = local.boundary_arn } }

  documents = { for name, statements in local.statements : name => [for sid, statement in statements : merge({ Sid = sid, Effect = "Allow" }, statement)] }

  statements = {
    # How things are set up, and the environment's state. No image, no record, no message.
    read = {
      State     = { Action = ["s3:GetObject"], Resource = [local.arns.state_object] }
      StateHome = { Action = ["s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:ListBucket"], Resource = [local.arns.state] }
      LockTable = { Action = ["dynamodb:Describe*", "dynamodb:ListTagsOfResource"], Resource = [local.arns.lock_table] }
      Digests   = { Action = ["dynamodb:GetItem"], Resource = [local.arns.lock_table], Condition = local.locks }
      Buckets   = { Action = ["s3:Get*Configuration", "s3:GetBucket*", "s3:ListBucket"], Resource = [local.arns.buckets] }
      Tables    = { Action = ["dynamodb:Describe*", "dynamodb:ListTagsOfResource"], Resource = [local.arns.tables] }
      Queues    = { Action = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ListQueueTags"], Resource = [local.arns.queues] }
      Functions = { Action = ["lambda:Get*", "lambda:List*"], Resource = [local.arns.functions, local.arns.mappings] }
      Apis      = { Action = ["apigateway:GET"], Resource = [local.arns.apis] }
      Buses     = { Action = ["events:DescribeEventBus", "events:ListTagsForResource"], Resource = [local.arns.buses] }
      Topics    = { Action = ["sns:Get*", "sns:List*"], Resource = [local.arns.topics] }
      Roles     = { Action = ["iam:Get*", "iam:List*"], Resource = concat([local.arns.roles, local.boundary_arn, local.provider_arn], local.arns.ci) }
      Keys      = { Action = ["kms:Describe*", "kms:GetKey*", "kms:List*"], Resource = ["arn:${local.partition}:kms:${local.scope}:key/*"], Condition = local.own_tag }
      Registry  = { Action = ["ecr:BatchGetImage", "ecr:Describe*", "ecr:GetDownloadUrlForLayer", "ecr:GetLifecyclePolicy", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource"], Resource = [local.arns.registry] }
      Unnamed = {
        Action   = ["cloudwatch:Describe*", "cloudwatch:Get*", "cloudwatch:List*", "kms:ListAliases", "lambda:GetEventSourceMapping", "lambda:ListEventSourceMappings", "logs:Describe*", "logs:ListTagsForResource"]
        Resource = ["*"]
      }
      NoData = {
        Effect   = "Deny"
        Action   = ["dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "lambda:GetFunctionUrlConfig", "logs:GetLogEvents", "sqs:ReceiveMessage"]
        Resource = ["*"]
      }
    }

    # What the modules manage, and the environment's state. Bootstrapping makes the state's bucket and the lock's table.
    write = {
      State      = { Action = ["s3:PutObject"], Resource = [local.arns.state_object] }
      StateHome  = { Action = ["s3:CreateBucket", "s3:PutBucket*", "s3:PutEncryptionConfiguration"], Resource = [local.arns.state] }
      LockTable  = { Action = ["dynamodb:CreateTable", "dynamodb:TagResource", "dynamodb:UpdateTable"], Resource = [local.arns.lock_table] }
      Locks      = { Action = ["dynamodb:DeleteItem", "dynamodb:PutItem"], Resource = [local.arns.lock_table], Condition = local.locks }
      Buckets    = { Action = ["s3:CreateBucket", "s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:ListBucketVersions", "s3:PutBucket*", "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"], Resource = [local.arns.buckets] }
      Emptying   = { Action = ["s3:DeleteObject", "s3:DeleteObjectVersion"], Resource = ["${local.arns.buckets}/*"] }
      Smoke      = { Action = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"], Resource = ["${local.arns.buckets}/smoke/*"] }
      Tables     = { Action = ["dynamodb:CreateTable", "dynamodb:DeleteTable", "dynamodb:TagResource", "dynamodb:UntagResource", "dynamodb:Update*"], Resource = [local.arns.tables] }
      Queues     = { Action = ["sqs:CreateQueue", "sqs:DeleteQueue", "sqs:SetQueueAttributes", "sqs:TagQueue", "sqs:UntagQueue"], Resource = [local.arns.queues] }
      Functions  = { Action = ["lambda:AddPermission", "lambda:CreateAlias", "lambda:CreateFunction", "lambda:Delete*", "lambda:PublishVersion", "lambda:RemovePermission", "lambda:TagResource", "lambda:UntagResource", "lambda:UpdateAlias", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration"], Resource = [local.arns.functions] }
      Trying     = { Action = ["lambda:InvokeFunction"], Resource = ["${local.arns.functions}:*"] } # new versions, before they get calls
      Mappings   = { Action = ["lambda:CreateEventSourceMapping", "lambda:DeleteEventSourceMapping", "lambda:UpdateEventSourceMapping"], Resource = ["*"], Condition = { ArnLike = { "lambda:FunctionArn" = local.arns.functions } } }
      MappingTag = { Action = ["lambda:TagResource", "lambda:UntagResource"], Resource = [local.arns.mappings] }
      Logs       = { Action = ["logs:CreateLogGroup", "logs:DeleteLogGroup", "logs:DeleteRetentionPolicy", "logs:PutRetentionPolicy", "logs:TagResource", "logs:UntagResource"], Resource = local.arns.logs }
      # API Gateway's access logs need these, which know no names: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging.html
      Delivery = { Action = ["logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery"], Resource = ["*"] }
      Apis     = { Action = ["apigateway:DELETE", "apigateway:PATCH", "apigateway:POST", "apigateway:PUT", "apigateway:TagResource", "apigateway:UntagResource"], Resource = [local.arns.apis] }
      Removal  = { Action = ["execute-api:Invoke"], Resource = ["arn:${local.partition}:execute-api:${local.scope}:*/*/DELETE/images/*"] }
      Buses    = { Action = ["events:CreateEventBus", "events:DeleteEventBus", "events:TagResource", "events:UntagResource"], Resource = [local.arns.buses] }
      Topics   = { Action = ["sns:CreateTopic", "sns:DeleteTopic", "sns:SetTopicAttributes", "sns:Subscribe", "sns:TagResource", "sns:UntagResource"], Resource = [local.arns.topics] }
      Leaving  = { Action = ["sns:Unsubscribe"], Resource = ["${local.arns.topics}:*"] }
      Watching = { Action = ["cloudwatch:DeleteAlarms", "cloudwatch:DeleteDashboards", "cloudwatch:PutDashboard", "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource", "cloudwatch:UntagResource"], Resource = [local.arns.alarms, local.arns.dashboards] }
      NewKey   = { Action = ["kms:CreateKey", "kms:TagResource"], Resource = ["*"], Condition = local.own_request }
      Keys     = { Action = ["kms:CreateAlias", "kms:CreateGrant", "kms:DeleteAlias", "kms:EnableKeyRotation", "kms:GenerateDataKey", "kms:Decrypt", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription"], Resource = ["arn:${local.partition}:kms:${local.scope}:key/*"], Condition = local.own_tag }
      KeyAlias = { Action = ["kms:CreateAlias", "kms:DeleteAlias"], Resource = ["arn:${local.partition}:kms:${local.scope}:alias/${var.name_prefix}*"] }
    }

    # Roles, which are the way to every other right: only with the boundary, and only for Lambda.
    roles = {
      Make   = { Action = ["iam:CreateRole", "iam:DeleteRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy"], Resource = [local.arns.roles], Condition = local.bounded }
      Change = { Action = ["iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole"], Resource = [local.arns.roles] }
      Pass   = { Action = ["iam:PassRole"], Resource = [local.arns.roles], Condition = { StringEquals = { "iam:PassedToService" = "lambda.amazonaws.com" } } }
      # Neither itself nor what holds it.
      Hands = {
        Effect   = "Deny"
        Action   = ["iam:Add*", "iam:Attach*", "iam:Create*", "iam:Delete*", "iam:Detach*", "iam:PassRole", "iam:Put*", "iam:Remove*", "iam:Set*", "iam:Tag*", "iam:Untag*", "iam:Update*"]
        Resource = concat([local.boundary_arn, local.provider_arn], local.arns.ci)
      }
      Registry = { Action = var.registry.manage ? local.registry_actions : ["ecr:BatchGetImage"], Resource = [local.arns.registry] }
      Login    = { Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] }
    }
  }

  registry_actions = [
    "ecr:BatchCheckLayerAvailability", "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:CreateRepository", "ecr:DeleteLifecyclePolicy",
    "ecr:DeleteRepository", "ecr:DeleteRepositoryPolicy", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:StartImageScan", "ecr:TagResource", "ecr:UntagResource", "ecr:UploadLayerPart",
  ]

  boundary = [
    { Sid = "Objects", Effect = "Allow", Action = ["s3:DeleteObject", "s3:GetObject", "s3:GetObjectVersion", "s3:ListBucket", "s3:PutObject"], Resource = [local.arns.buckets, "${local.arns.buckets}/*"] },
    { Sid = "Records", Effect = "Allow", Action = ["dynamodb:DescribeStream", "dynamodb:GetItem", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams", "dynamodb:Query", "dynamodb:UpdateItem"], Resource = [local.arns.tables] },
    { Sid = "Messages", Effect = "Allow", Action = ["sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"], Resource = [local.arns.queues] },
    { Sid = "Events", Effect = "Allow", Action = ["events:PutEvents"], Resource = [local.arns.buses] },
    { Sid = "Logs", Effect = "Allow", Action = ["logs:CreateLogStream", "logs:PutLogEvents"], Resource = local.arns.logs },
    { Sid = "Keys", Effect = "Allow", Action = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"], Resource = ["arn:${local.partition}:kms:${local.scope}:key/*"], Condition = local.own_tag },
  ]
}
