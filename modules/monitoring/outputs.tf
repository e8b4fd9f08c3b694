output "alarm_names" {
  description = "Names of the alarms."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.alarm : alarm.alarm_name])
}

output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.pipeline.dashboard_name
}

output "dashboard_url" {
  description = "URL of the dashboard in the AWS console."
  value = join("", [
    "https://${var.region}.console.aws.amazon.com/cloudwatch/home?region=${var.region}",
    "#dashboards/dashboard/${aws_cloudwatch_dashboard.pipeline.dashboard_name}",
  ])
}

output "topic_arn" {
  description = "Topic that carries alarms, for further subscribers."
  value       = aws_sns_topic.alarms.arn
  depends_on  = [aws_sns_topic_policy.alarms]
}
