output "apply_role_arn" {
  description = "Role of jobs that apply."
  value       = aws_iam_role.ci["apply"].arn
  depends_on  = [aws_iam_role_policy_attachment.ci]
}

output "function_role_arns" {
  description = "Role of each function, whose name ends in the function's."
  value       = { for name, role in aws_iam_role.function : name => role.arn }
}

output "kms_key_arn" {
  description = "Key for what the environment stores; empty where AWS manages the keys."
  value       = join("", aws_kms_key.storage[*].arn)
}

output "plan_role_arn" {
  description = "Role of jobs that plan, detect drift, and promote."
  value       = aws_iam_role.ci["plan"].arn
  depends_on  = [aws_iam_role_policy_attachment.ci]
}
