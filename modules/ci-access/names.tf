# What the roles may touch, by the names of things: everything here begins with the environment's prefix. Where a
# service has no names that are known beforehand, a condition or the account is the limit.

data "aws_partition" "current" {}

locals {
  arn      = "arn:${data.aws_partition.current.partition}"
  iam      = "${local.arn}:iam::${var.account_id}"
  regional = "${var.region}:${var.account_id}"

  boundary_arn = "${local.iam}:policy/${var.name_prefix}-boundary"
  provider_arn = "${local.iam}:oidc-provider/${local.issuer}"

  arns = {
    alarms        = "${local.arn}:cloudwatch:${local.regional}:alarm:${var.name_prefix}-*"
    apis          = "${local.arn}:apigateway:${var.region}::/*"
    buckets       = "${local.arn}:s3:::${var.name_prefix}-*"
    buses         = "${local.arn}:events:${local.regional}:event-bus/${var.name_prefix}-*"
    ci            = [for kind in ["role", "policy"] : "${local.iam}:${kind}/${var.name_prefix}-ci-*"]
    dashboards    = "${local.arn}:cloudwatch::${var.account_id}:dashboard/${var.name_prefix}*"
    functions     = "${local.arn}:lambda:${local.regional}:function:${var.name_prefix}-*"
    image_removal = "${local.arn}:execute-api:${local.regional}:*/*/*/images/*"
    key_aliases   = "${local.arn}:kms:${local.regional}:alias/${var.name_prefix}*"
    keys          = "${local.arn}:kms:${local.regional}:key/*"
    lock_table    = "${local.arn}:dynamodb:${local.regional}:table/${var.state.lock_table}"
    mappings      = "${local.arn}:lambda:${local.regional}:event-source-mapping:*"
    queues        = "${local.arn}:sqs:${local.regional}:${var.name_prefix}-*"
    registry      = "${local.arn}:ecr:${var.region}:${var.registry.account_id}:repository/${var.registry.name}"
    roles         = "${local.iam}:role/${var.name_prefix}-*"
    state         = "${local.arn}:s3:::${var.state.bucket}"
    state_objects = "${local.arn}:s3:::${var.state.bucket}/${var.state.prefix}/*"
    tables        = "${local.arn}:dynamodb:${local.regional}:table/${var.name_prefix}*"
    topics        = "${local.arn}:sns:${local.regional}:${var.name_prefix}-*"

    logs = [
      for service in ["apigateway", "lambda"] :
      "${local.arn}:logs:${local.regional}:log-group:/aws/${service}/${var.name_prefix}*"
    ]
  }

  # Locks are items named <bucket>/<key of the state>, and <…>-md5 beside it. A condition on them needs a second one,
  # Null, because ForAllValues is true of a request without any value, too.
  lock_keys = "${var.state.bucket}/${var.state.prefix}/*"
}
