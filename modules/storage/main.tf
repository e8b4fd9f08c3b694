# Uploads, variants, records and the queues between them. One module, because the parts name each other: the bucket
# sends to the queue, the queue's policy names the bucket, and both use the key.

data "aws_partition" "current" {}

# Names are known before any resource exists, so ARNs are built from them. Policies can then be read in the plan, and a
# resource waits for another only where AWS requires it.
locals {
  bucket_names = {
    for purpose in ["processed", "uploads"] :
    purpose => "${var.name_prefix}-${purpose}-${var.account_id}-${var.region}"
  }
  bucket_arns = {
    for purpose, name in local.bucket_names :
    purpose => "arn:${data.aws_partition.current.partition}:s3:::${name}"
  }

  queue_names = {
    backfill     = "${var.name_prefix}-backfill"
    dead_letters = "${var.name_prefix}-uploads-dlq"
    uploads      = "${var.name_prefix}-uploads"
  }
  queue_arns = {
    for purpose, name in local.queue_names :
    purpose => "arn:${data.aws_partition.current.partition}:sqs:${var.region}:${var.account_id}:${name}"
  }

  buckets = {
    for purpose, bucket in aws_s3_bucket.images :
    purpose => { arn = bucket.arn, name = bucket.bucket }
  }

  own_key     = var.kms_key_arn != ""
  kms_key_arn = local.own_key ? var.kms_key_arn : null
}
