# The only image registry. Its own account pushes; the accounts of the environments pull.

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  arn          = "arn:${data.aws_partition.current.partition}"
  pull_actions = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]

  # ECR has no rule that says "keep". But an image that matches the tags of one rule is never expired by a later one, so
  # a first rule that never applies protects released images:
  # https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
  lifecycle_rules = [
    {
      description = "Keep released images: an environment may run them"
      selection = {
        tagStatus     = "tagged"
        tagPrefixList = ["release-"]
        countType     = "imageCountMoreThan"
        countNumber   = 9999
      }
    },
    {
      description = "Expire builds that were not released"
      selection = {
        tagStatus     = "tagged"
        tagPrefixList = ["build-"]
        countType     = "sinceImagePushed"
        countUnit     = "days"
        countNumber   = var.untagged_retention_days
      }
    },
    {
      description = "Expire images without a tag"
      selection = {
        tagStatus   = "untagged"
        countType   = "sinceImagePushed"
        countUnit   = "days"
        countNumber = var.untagged_retention_days
      }
    },
  ]
}

resource "aws_ecr_repository" "images" {
  name                 = var.name
  force_delete         = var.force_destroy
  image_tag_mutability = "IMMUTABLE"

  encryption_configuration {
    encryption_type = "AES256"
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

resource "aws_ecr_lifecycle_policy" "images" {
  repository = aws_ecr_repository.images.name

  policy = jsonencode({
    rules = [
      for index, rule in local.lifecycle_rules :
      merge(rule, { rulePriority = index + 1, action = { type = "expire" } })
    ]
  })
}

data "aws_iam_policy_document" "pull" {
  # Whoever deploys a function in these accounts must be able to read its image ...
  statement {
    sid     = "AllowReaderAccounts"
    actions = local.pull_actions

    principals {
      type        = "AWS"
      identifiers = [for account_id in var.reader_account_ids : "${local.arn}:iam::${account_id}:root"]
    }
  }

  # ... and so must Lambda, which fetches an image again when it has dropped its copy.
  statement {
    sid     = "AllowReaderFunctions"
    actions = local.pull_actions

    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values = [
        for account_id in var.reader_account_ids :
        "${local.arn}:lambda:${data.aws_region.current.name}:${account_id}:function:*"
      ]
    }
  }
}

resource "aws_ecr_repository_policy" "pull" {
  repository = aws_ecr_repository.images.name
  policy     = data.aws_iam_policy_document.pull.json
}
