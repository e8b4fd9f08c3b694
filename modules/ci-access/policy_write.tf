# Policy of the apply role: everything that the modules manage, except roles, keys, and stores that are not erasable.
# Written in parts, attached as one.

data "aws_iam_policy_document" "write" {
  source_policy_documents = concat(
    [data.aws_iam_policy_document.write_state.json, data.aws_iam_policy_document.write_services.json],
    length(local.api_ids) > 0 ? [data.aws_iam_policy_document.write_api.json] : [],
  )
}

# State, and the smoke test's image. State bucket and lock table are shared by the environments of an account: an
# administrator makes them (`make bootstrap`), and no role changes their settings.
data "aws_iam_policy_document" "write_state" {
  statement {
    sid       = "State"
    actions   = ["s3:PutObject"]
    resources = [local.arns.state_objects]
  }

  statement {
    sid       = "Locks"
    actions   = ["dynamodb:DeleteItem", "dynamodb:PutItem"]
    resources = [local.arns.lock_table]

    condition {
      test     = "ForAllValues:StringLike"
      variable = "dynamodb:LeadingKeys"
      values   = [local.lock_keys]
    }

    condition {
      test     = "Null"
      variable = "dynamodb:LeadingKeys"
      values   = ["false"]
    }
  }

  statement {
    sid       = "Smoke"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:PutObjectTagging"]
    resources = ["${local.arns.buckets}/smoke/*"]
  }

  dynamic "statement" {
    for_each = var.customer_managed_key ? ["key"] : []

    content {
      sid       = "Encrypt"
      actions   = local.key_actions
      resources = [local.arns.keys]

      condition {
        test     = "ForAnyValue:StringEquals"
        variable = "kms:ResourceAliases"
        values   = [local.key_alias]
      }

      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = local.key_users
      }
    }
  }
}
