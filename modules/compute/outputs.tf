output "functions" {
  description = "The functions by what they do, `processor` and `api`, with everything that calls, watches or grants."
  value = {
    for function, alias in aws_lambda_alias.live : function => {
      alias           = alias.name
      alias_arn       = alias.arn
      arn             = aws_lambda_function.function[function].arn
      invoke_arn      = alias.invoke_arn
      log_group       = aws_cloudwatch_log_group.function[function].name
      name            = alias.function_name
      role_arn        = aws_iam_role.function[function].arn
      role_name       = aws_iam_role.function[function].name
      timeout_seconds = aws_lambda_function.function[function].timeout
      version         = alias.function_version
    }
  }
  depends_on = [aws_iam_role_policy.function, aws_lambda_event_source_mapping.uploads]
}

output "image_digest" {
  description = "Digest of the image that both functions run."
  value       = local.image_digest
  depends_on  = [aws_lambda_alias.live]
}
