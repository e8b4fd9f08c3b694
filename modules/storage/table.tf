resource "aws_dynamodb_table" "images" {
  name                        = "${var.name_prefix}-images"
  billing_mode                = "PAY_PER_REQUEST"
  deletion_protection_enabled = var.deletion_protection
  hash_key                    = "image_id"
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"

  attribute {
    name = "image_id"
    type = "S"
  }

  attribute {
    name = "listed_at"
    type = "S"
  }

  attribute {
    name = "listing"
    type = "S"
  }

  attribute {
    name = "status"
    type = "S"
  }

  # All images, newest first. A deleted image loses `listing`, so that readers never page through tombstones.
  global_secondary_index {
    name            = "newest"
    hash_key        = "listing"
    range_key       = "listed_at"
    projection_type = "ALL"
  }

  global_secondary_index {
    name            = "by-status"
    hash_key        = "status"
    range_key       = "listed_at"
    projection_type = "ALL"
  }

  point_in_time_recovery {
    enabled = true
  }

  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  # Without this block DynamoDB encrypts with its own key, which is free; `enabled` means KMS.
  dynamic "server_side_encryption" {
    for_each = local.own_key ? ["kms"] : []

    content {
      enabled     = true
      kms_key_arn = local.kms_key_arn
    }
  }
}
