output "repository_arn" {
  description = "ARN of the repository."
  value       = aws_ecr_repository.images.arn
}

output "repository_name" {
  description = "Name of the repository."
  value       = aws_ecr_repository.images.name
}

output "repository_url" {
  description = "URL to push to and pull from."
  value       = aws_ecr_repository.images.repository_url
  depends_on  = [aws_ecr_lifecycle_policy.images, aws_ecr_repository_policy.pull]
}
