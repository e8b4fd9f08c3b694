# The settings of a bucket are made one after another: S3 refuses one that meets another ("OperationAborted: A
# conflicting conditional operation is currently in progress"). The first closes the bucket, the slowest comes last.
resource "aws_s3_bucket" "images" {
  for_each = local.bucket_names

  bucket        = each.value
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_ownership_controls" "images" {
  for_each = aws_s3_bucket.images

  bucket = each.value.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }

  depends_on = [aws_s3_bucket_public_access_block.images]
}

resource "aws_s3_bucket_public_access_block" "images" {
  for_each = aws_s3_bucket.images

  bucket                  = each.value.bucket
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "images" {
  for_each = aws_s3_bucket.images

  bucket = each.value.bucket

  versioning_configuration {
    status = "Enabled"
  }

  depends_on = [aws_s3_bucket_policy.images]
}

resource "aws_s3_bucket_server_side_encryption_configuration" "images" {
  for_each = aws_s3_bucket.images

  bucket = each.value.bucket

  rule {
    # One data key serves a bucket for a while, so that not every object costs a call of KMS.
    bucket_key_enabled = local.own_key

    apply_server_side_encryption_by_default {
      kms_master_key_id = local.kms_key_arn
      sse_algorithm     = local.own_key ? "aws:kms" : "AES256"
    }
  }

  depends_on = [aws_s3_bucket_versioning.images]
}

data "aws_iam_policy_document" "bucket" {
  for_each = local.bucket_arns

  statement {
    sid       = "DenyInsecureTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value, "${each.value}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "images" {
  for_each = aws_s3_bucket.images

  bucket = each.value.bucket
  policy = data.aws_iam_policy_document.bucket[each.key].json

  depends_on = [aws_s3_bucket_ownership_controls.images]
}

# The provider watches a new lifecycle configuration for 55 seconds, the longest wait of this module: no other setting
# waits for it.
resource "aws_s3_bucket_lifecycle_configuration" "images" {
  for_each = aws_s3_bucket.images

  bucket = each.value.bucket

  rule {
    id     = "abort-incomplete-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = var.expiry.incomplete_upload_days
    }
  }

  rule {
    id     = "expire-noncurrent-versions"
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.expiry.noncurrent_version_days
    }
  }

  rule {
    id     = "remove-expired-delete-markers"
    status = "Enabled"

    filter {}

    expiration {
      expired_object_delete_marker = true
    }
  }

  rule {
    id     = "expire-test-data"
    status = "Enabled"

    filter {
      tag {
        key   = "purpose"
        value = "test-data"
      }
    }

    expiration {
      days = var.expiry.test_data_days
    }
  }

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.images]
}

# Removals are announced as well as creations: a record must not outlive its image.
resource "aws_s3_bucket_notification" "uploads" {
  bucket = aws_s3_bucket.images["uploads"].bucket

  queue {
    id        = "uploads"
    queue_arn = aws_sqs_queue.uploads.arn
    # S3 announces an object that a lifecycle rule removes by an event of its own.
    events = ["s3:LifecycleExpiration:DeleteMarkerCreated", "s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
  }

  depends_on = [aws_s3_bucket_server_side_encryption_configuration.images]
}
