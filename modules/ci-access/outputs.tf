output "apply_role_arn" {
  description = "Role of jobs that apply."
  value       = aws_iam_role.ci["apply"].arn
  depends_on  = [aws_iam_role_policy_attachment.ci]
}

output "permissions_boundary_arn" {
  description = "Permissions boundary required on every role that the apply role creates."
  value       = aws_iam_policy.boundary.arn
}

output "plan_role_arn" {
  description = "Role of jobs that plan, detect drift, and promote."
  value       = aws_iam_role.ci["plan"].arn
  depends_on  = [aws_iam_role_policy_attachment.ci]
}
