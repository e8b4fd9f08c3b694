# Two roles for the workflows of one repository on GitHub, without access keys that could be stolen.
# An administrator applies this unit: neither role may change it, nor the boundary of the roles that they create.

locals {
  issuer = "token.actions.githubusercontent.com"

  # GitHub's subjects have two forms: the old one by names, and the one with ids, which repositories made or renamed
  # since July 2026 have. No new owner of a name can take the ids over:
  # https://docs.github.com/actions/concepts/security/openid-connect
  owner    = split("/", var.github.repository)[0]
  name     = split("/", var.github.repository)[1]
  with_ids = var.github.owner_id != null && var.github.repository_id != null
  repositories = compact([
    "repo:${local.owner}/${local.name}",
    local.with_ids ? "repo:${local.owner}@${var.github.owner_id}/${local.name}@${var.github.repository_id}" : "",
  ])

  roles = {
    # Jobs of the GitHub environment `plan`, whose settings say which branches have some: those of pull requests. And
    # jobs on main that plan, detect drift or promote.
    plan = {
      contexts = ["environment:plan", "ref:refs/heads/main"]
      policies = [aws_iam_policy.ci["read"].arn]
    }
    # Jobs of the GitHub environment of this name only, whose settings say who must approve them.
    apply = {
      contexts = ["environment:${var.environment}"]
      policies = concat(
        [aws_iam_policy.ci["read"].arn, aws_iam_policy.ci["write"].arn, aws_iam_policy.ci["roles"].arn],
        aws_iam_policy.stores[*].arn,
      )
    }
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.create_oidc_provider ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "trust" {
  for_each = local.roles

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    # Whole subjects, no pattern: a pattern also matches subjects that nobody has thought of.
    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = [for pair in setproduct(local.repositories, each.value.contexts) : join(":", pair)]
    }
  }
}

resource "aws_iam_role" "ci" {
  for_each = local.roles

  name                 = "${var.name_prefix}-ci-${each.key}"
  description          = "GitHub Actions of ${var.github.repository}: ${each.key} of ${var.environment}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 3600
}

resource "aws_iam_policy" "ci" {
  for_each = {
    read  = data.aws_iam_policy_document.read
    roles = data.aws_iam_policy_document.roles
    write = data.aws_iam_policy_document.write
  }

  name   = "${var.name_prefix}-ci-${each.key}"
  policy = each.value.minified_json
}

# Only where what is stored may be erased (policy_stores.tf).
resource "aws_iam_policy" "stores" {
  count = var.erasable ? 1 : 0

  name   = "${var.name_prefix}-ci-stores"
  policy = data.aws_iam_policy_document.stores.minified_json
}

resource "aws_iam_role_policy_attachment" "ci" {
  for_each = merge([
    for role, settings in local.roles : {
      for index, policy in settings.policies : "${role}-${index}" => { role = role, policy = policy }
    }
  ]...)

  role       = aws_iam_role.ci[each.value.role].name
  policy_arn = each.value.policy
}
