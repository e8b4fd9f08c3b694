# The HTTP API: a list of routes in front of one function. No other path reaches the function.

data "aws_partition" "current" {}

locals {
  # The handler has the same paths, and itself refuses unsigned requests to those with AWS_IAM. Strangers have routes of
  # their own, with fewer fields: a route without authorization would ignore the signature of everybody else, too.
  known_routes = {
    "DELETE /images/{id}"                     = { authorization = "AWS_IAM" }
    "GET /health"                             = { authorization = var.public_reading ? "NONE" : "AWS_IAM" }
    "GET /images"                             = { authorization = "AWS_IAM", throttling = var.throttling.listing }
    "GET /images/{id}"                        = { authorization = "AWS_IAM" }
    "GET /images/{id}/variants/{name}"        = { authorization = "AWS_IAM" }
    "GET /public/images"                      = { authorization = "NONE", throttling = var.throttling.listing }
    "GET /public/images/{id}"                 = { authorization = "NONE" }
    "GET /public/images/{id}/variants/{name}" = { authorization = "NONE" }
  }
  routes = {
    for key, route in local.known_routes : key => route if route.authorization == "AWS_IAM" || var.public_reading
  }

  log_group_name = "/aws/apigateway/${var.name_prefix}"
  log_groups_arn = "arn:${data.aws_partition.current.partition}:logs:${var.region}:${var.account_id}:log-group"

  # One JSON object per request. Times are in milliseconds, sizes in bytes. API Gateway puts values in as they are, so
  # none may be a text that a caller or a function has written: a quote in it would end the JSON. The path is in the
  # function's log, under the same request id.
  # https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-logging-variables.html
  access_log_fields = {
    caller              = "$context.identity.user"
    error               = "$context.error.responseType"
    function_request_id = "$context.integration.requestId"
    function_status     = "$context.integration.integrationStatus"
    integration_status  = "$context.integrationStatus"
    integration_time    = "$context.integrationLatency"
    method              = "$context.httpMethod"
    request_id          = "$context.requestId"
    response_bytes      = "$context.responseLength"
    response_time       = "$context.responseLatency"
    route               = "$context.routeKey"
    source_ip           = "$context.identity.sourceIp"
    status              = "$context.status"
    time                = "$context.requestTimeEpoch"
  }
}

resource "aws_apigatewayv2_api" "images" {
  name          = var.name_prefix
  description   = "Images of ${var.name_prefix}"
  protocol_type = "HTTP"

  cors_configuration {
    allow_headers  = var.cors.allow_headers
    allow_methods  = var.cors.allow_methods
    allow_origins  = var.cors.allow_origins
    expose_headers = var.cors.expose_headers
    max_age        = var.cors.max_age_seconds
  }
}

resource "aws_apigatewayv2_integration" "function" {
  api_id                 = aws_apigatewayv2_api.images.id
  integration_type       = "AWS_PROXY"
  integration_uri        = var.function.invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "images" {
  for_each = local.routes

  api_id             = aws_apigatewayv2_api.images.id
  route_key          = each.key
  authorization_type = each.value.authorization
  target             = "integrations/${aws_apigatewayv2_integration.function.id}"
}

resource "aws_cloudwatch_log_group" "access" {
  name              = local.log_group_name
  retention_in_days = var.log_retention_days
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.images.id
  name        = "$default"
  auto_deploy = true

  access_log_settings {
    destination_arn = "${local.log_groups_arn}:${aws_cloudwatch_log_group.access.name}"
    format          = jsonencode(local.access_log_fields)
  }

  default_route_settings {
    throttling_burst_limit = var.throttling.burst_limit
    throttling_rate_limit  = var.throttling.rate_limit
  }

  dynamic "route_settings" {
    for_each = { for key, route in local.routes : key => route.throttling if can(route.throttling) }

    content {
      route_key              = route_settings.key
      throttling_burst_limit = route_settings.value.burst_limit
      throttling_rate_limit  = route_settings.value.rate_limit
    }
  }

  # Settings for a route that is not there yet are refused.
  depends_on = [aws_apigatewayv2_route.images]
}

# This API may call the alias, no other API and no other version.
resource "aws_lambda_permission" "api" {
  statement_id   = "AllowHttpApi"
  action         = "lambda:InvokeFunction"
  function_name  = var.function.name
  qualifier      = var.function.alias
  principal      = "apigateway.amazonaws.com"
  source_account = var.account_id
  source_arn     = "${aws_apigatewayv2_api.images.execution_arn}/*"
}
