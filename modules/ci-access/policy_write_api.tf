# Part of the policy in policy_write.tf, as soon as the environment's API exists: its id is the safest name.

data "aws_iam_policy_document" "write_api" {
  statement {
    sid = "OwnApi"
    actions = [
      "apigateway:DELETE",
      "apigateway:PATCH",
      "apigateway:POST",
      "apigateway:PUT",
      "apigateway:TagResource",
      "apigateway:UntagResource",
    ]
    resources = local.arns.own_apis
  }

  # The smoke test reads its image by the API and removes it.
  statement {
    sid       = "Images"
    actions   = ["execute-api:Invoke"]
    resources = local.arns.own_images
  }
}
