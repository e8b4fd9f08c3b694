output "api_id" {
  description = "Id of the API, as in its metrics."
  value       = aws_apigatewayv2_api.images.id
}

output "api_url" {
  description = "Address of the API, without a slash at the end."
  value       = aws_apigatewayv2_api.images.api_endpoint
  depends_on  = [aws_apigatewayv2_route.images, aws_apigatewayv2_stage.default, aws_lambda_permission.api]
}

output "log_group" {
  description = "Log group of the access log."
  value       = aws_cloudwatch_log_group.access.name
}

output "stage" {
  description = "Stage that is served, as in the API's metrics."
  value       = aws_apigatewayv2_stage.default.name
}
