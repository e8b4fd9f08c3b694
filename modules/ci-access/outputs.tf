output "apply_role_arn" {
  description = "Role of the jobs that apply."
  value       = aws_iam_role.ci["apply"].arn
  depends_on  = [aws_iam_role_policy_attachment.ci]
}

output "permissions_boundary_arn" {
  description = "Policy that every role must carry which the apply role makes."
  value       = aws_iam_policy.boundary.arn
}

output "plan_role_arn" {
  description = "Role of the jobs that plan, look for drift, and promote."
  value       = aws_iam_role.ci["plan"].arn
  depends_on  = [aws_iam_role_policy_attachment.ci]
}
