output "backfill_queue" {
  description = "Queue of images to be processed again."
  value = {
    arn  = aws_sqs_queue.backfill.arn
    name = aws_sqs_queue.backfill.name
    url  = aws_sqs_queue.backfill.url
  }
}

output "dead_letter_queue" {
  description = "Queue of messages that could not be processed."
  value = {
    arn  = aws_sqs_queue.dead_letters.arn
    name = aws_sqs_queue.dead_letters.name
    url  = aws_sqs_queue.dead_letters.url
  }
}

output "kms_key_arn" {
  description = "Key of buckets, queues and table; null where AWS manages the keys."
  value       = local.kms_key_arn
}

output "processed_bucket" {
  description = "Bucket of the variants."
  value       = local.buckets["processed"]
  depends_on  = [aws_s3_bucket_policy.images, aws_s3_bucket_public_access_block.images]
}

output "queue" {
  description = "Queue of events of the upload bucket: objects created and removed."
  value = {
    arn                        = aws_sqs_queue.uploads.arn
    max_receive_count          = var.queue.max_receive_count
    name                       = aws_sqs_queue.uploads.name
    url                        = aws_sqs_queue.uploads.url
    visibility_timeout_seconds = aws_sqs_queue.uploads.visibility_timeout_seconds
  }
}

output "table" {
  description = "Table of the image records, with the names of its indexes."
  value = {
    arn        = aws_dynamodb_table.images.arn
    indexes    = sort(aws_dynamodb_table.images.global_secondary_index[*].name)
    name       = aws_dynamodb_table.images.name
    stream_arn = aws_dynamodb_table.images.stream_arn
  }
}

output "upload_bucket" {
  description = "Bucket that images are uploaded to."
  value       = local.buckets["uploads"]
  depends_on = [
    aws_s3_bucket_notification.uploads,
    aws_s3_bucket_policy.images,
    aws_s3_bucket_public_access_block.images,
  ]
}

output "upload_bucket_name" {
  description = "Name of the upload bucket, for people and scripts."
  value       = aws_s3_bucket.images["uploads"].bucket
  depends_on = [
    aws_s3_bucket_notification.uploads,
    aws_s3_bucket_policy.images,
    aws_s3_bucket_public_access_block.images,
  ]
}
