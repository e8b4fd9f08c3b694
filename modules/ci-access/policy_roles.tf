# Policy of the apply role for roles, through which it could get every other right. It makes none and opens none: it
# says what functions may do within the boundary, and gives their roles to Lambda. The registry's rights are here, too,
# because policy_write.tf has no room for them.

locals {
  erasing_images = var.registry.erasable ? ["ecr:BatchDeleteImage", "ecr:DeleteRepository"] : []

  registry_actions = concat(local.erasing_images, [
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:CompleteLayerUpload",
    "ecr:CreateRepository",
    "ecr:DeleteLifecyclePolicy",
    "ecr:DeleteRepositoryPolicy",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:PutImageScanningConfiguration",
    "ecr:PutImageTagMutability",
    "ecr:PutLifecyclePolicy",
    "ecr:SetRepositoryPolicy",
    "ecr:StartImageScan",
    "ecr:TagResource",
    "ecr:UntagResource",
    "ecr:UploadLayerPart",
  ])
}

data "aws_iam_policy_document" "roles" {
  statement {
    sid       = "Permit"
    actions   = ["iam:DeleteRolePolicy", "iam:PutRolePolicy"]
    resources = [local.arns.roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PermissionsBoundary"
      values   = [local.boundary_arn]
    }
  }

  statement {
    sid       = "Pass"
    actions   = ["iam:PassRole"]
    resources = [local.arns.roles]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["lambda.amazonaws.com"]
    }
  }

  # The apply role can change neither itself nor what limits it.
  statement {
    sid    = "Hands"
    effect = "Deny"
    actions = [
      "iam:Add*",
      "iam:Attach*",
      "iam:Create*",
      "iam:Delete*",
      "iam:Detach*",
      "iam:PassRole",
      "iam:Put*",
      "iam:Remove*",
      "iam:Set*",
      "iam:Tag*",
      "iam:Untag*",
      "iam:Update*",
    ]
    resources = concat([local.boundary_arn, local.provider_arn], local.arns.ci)
  }

  statement {
    sid       = "Registry"
    actions   = var.registry.manage ? local.registry_actions : ["ecr:BatchGetImage"]
    resources = [local.arns.registry]
  }

  statement {
    sid       = "Login"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}
