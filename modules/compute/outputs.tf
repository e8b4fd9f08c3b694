output "event_bus" {
  description = "Bus of one event per outcome of an image."
  value = {
    arn  = aws_cloudwatch_event_bus.images.arn
    name = aws_cloudwatch_event_bus.images.name
  }
}

output "functions" {
  description = "Names, ARNs and versions of the functions `announcer`, `api` and `processor`."
  value = {
    for function, alias in aws_lambda_alias.live : function => {
      alias           = alias.name
      alias_arn       = alias.arn
      arn             = aws_lambda_function.function[function].arn
      invoke_arn      = alias.invoke_arn
      log_group       = aws_cloudwatch_log_group.function[function].name
      name            = alias.function_name
      role_arn        = var.role_arns[function]
      role_name       = local.role_names[function]
      timeout_seconds = aws_lambda_function.function[function].timeout
      version         = alias.function_version
    }
  }
  depends_on = [aws_iam_role_policy.function, aws_lambda_event_source_mapping.queue]
}

output "image_digest" {
  description = "Digest of the image that the functions run."
  value       = local.image_digest
  depends_on  = [aws_lambda_alias.live]
}
