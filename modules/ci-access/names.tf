# What the roles may touch, by the names of things: everything here begins with the environment's prefix. Where a
# service has no names that are known beforehand, a condition or the account is the limit.

data "aws_partition" "current" {}

# Before the first apply there is no API, and no right to one. No other environment may make one with this tag.
data "aws_apigatewayv2_apis" "own" {
  count = var.find_api ? 1 : 0

  name          = var.name_prefix
  protocol_type = "HTTP"
  tags          = { Environment = var.environment }
}

locals {
  arn      = "arn:${data.aws_partition.current.partition}"
  iam      = "${local.arn}:iam::${var.account_id}"
  regional = "${var.region}:${var.account_id}"

  boundary_arn = "${local.iam}:policy/${var.name_prefix}-boundary"
  provider_arn = "${local.iam}:oidc-provider/${local.issuer}"

  arns = {
    alarms        = "${local.arn}:cloudwatch:${local.regional}:alarm:${var.name_prefix}-*"
    api_objects   = [for path in ["apis", "apis/*"] : "${local.arn}:apigateway:${var.region}::/${path}"]
    apis          = "${local.arn}:apigateway:${var.region}::/*"
    buckets       = "${local.arn}:s3:::${var.name_prefix}-*"
    buses         = "${local.arn}:events:${local.regional}:event-bus/${var.name_prefix}-*"
    ci            = [for kind in ["role", "policy"] : "${local.iam}:${kind}/${var.name_prefix}-ci-*"]
    dashboards    = "${local.arn}:cloudwatch::${var.account_id}:dashboard/${var.name_prefix}"
    functions     = "${local.arn}:lambda:${local.regional}:function:${var.name_prefix}-*"
    keys          = "${local.arn}:kms:${local.regional}:key/*"
    lock_table    = "${local.arn}:dynamodb:${local.regional}:table/${var.state.lock_table}"
    mappings      = "${local.arn}:lambda:${local.regional}:event-source-mapping:*"
    queues        = "${local.arn}:sqs:${local.regional}:${var.name_prefix}-*"
    registry      = "${local.arn}:ecr:${var.region}:${var.registry.account_id}:repository/${var.registry.name}"
    roles         = "${local.iam}:role/${var.name_prefix}-*"
    state         = "${local.arn}:s3:::${var.state.bucket}"
    state_objects = "${local.arn}:s3:::${var.state.bucket}/${var.state.prefix}/*"
    tables        = "${local.arn}:dynamodb:${local.regional}:table/${var.name_prefix}-*"
    topics        = "${local.arn}:sns:${local.regional}:${var.name_prefix}-*"

    # Nothing ends in a bare "<prefix>*": the environment `dev2` begins like `dev`.
    logs = [
      for group in ["apigateway/${var.name_prefix}", "apigateway/${var.name_prefix}:*", "lambda/${var.name_prefix}-*"] :
      "${local.arn}:logs:${local.regional}:log-group:/aws/${group}"
    ]

    # The API by its id, which AWS makes up: its settings, and its tags under the ARN in percent-encoding.
    own_apis = flatten([
      for arn in [for id in local.api_ids : "${local.arn}:apigateway:${var.region}::/apis/${id}"] :
      [arn, "${arn}/*", "${local.arn}:apigateway:${var.region}::/tags/${urlencode(arn)}*"]
    ])
    own_images = flatten([
      for id in local.api_ids : [
        for call in ["DELETE/images/*", "GET/health", "GET/images", "GET/images/*"] :
        "${local.arn}:execute-api:${local.regional}:${id}/*/${call}"
      ]
    ])
  }

  api_ids = setunion(var.api_ids, flatten(data.aws_apigatewayv2_apis.own[*].ids))

  # Locks are items named <bucket>/<key of the state>, and <…>-md5 beside it. A condition on them needs a second one,
  # Null, because ForAllValues is true of a request without any value, too.
  lock_keys = "${var.state.bucket}/${var.state.prefix}/*"
}
