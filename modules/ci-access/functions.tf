# One role for each function. Who may take a role is said here, by an administrator: the apply role opens no door. What
# a function may do within the boundary is said by the compute module, and comes with a release.

data "aws_iam_policy_document" "functions" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account_id]
    }
  }
}

resource "aws_iam_role" "function" {
  for_each = var.functions

  name                 = "${var.name_prefix}-${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.functions.json
  permissions_boundary = local.boundary_arn

  depends_on = [aws_iam_policy.boundary]
}
