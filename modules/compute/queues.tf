# Two queues, one function: each queue has its own limit of concurrency, so a backfill never takes what uploads need.
resource "aws_lambda_event_source_mapping" "queue" {
  for_each = {
    backfill = { arn = var.storage.backfill_queue.arn, maximum_concurrency = var.processor.backfill_concurrency }
    uploads  = { arn = var.storage.queue.arn, maximum_concurrency = var.processor.maximum_concurrency }
  }

  event_source_arn        = each.value.arn
  function_name           = aws_lambda_alias.live["processor"].arn
  batch_size              = var.processor.batch_size
  function_response_types = ["ReportBatchItemFailures"]

  scaling_config {
    maximum_concurrency = each.value.maximum_concurrency
  }
}
