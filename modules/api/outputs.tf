output "api_id" {
  description = "Id of the API, a dimension of its metrics."
  value       = aws_apigatewayv2_api.images.id
}

output "api_url" {
  description = "URL of the API, without a slash at the end."
  value       = aws_apigatewayv2_api.images.api_endpoint
  depends_on  = [aws_apigatewayv2_route.images, aws_apigatewayv2_stage.default, aws_lambda_permission.api]
}

output "log_group" {
  description = "Log group of the access log."
  value       = aws_cloudwatch_log_group.access.name
}

output "stage" {
  description = "Stage that serves requests, a dimension of the API's metrics."
  value       = aws_apigatewayv2_stage.default.name
}
