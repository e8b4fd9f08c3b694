provider "aws" {
  region = "eu-west-1"
}

module "compute" {
  source = "../.."

  account_id         = "333333333333"
  architecture       = "x86_64"
  log_retention_days = 365
  name_prefix        = "image-pipeline-prod"
  region             = "eu-west-1"
  role_arns          = local.ci_access.function_role_arns
  storage            = local.storage

  image_uri = join("/", [
    "444444444444.dkr.ecr.eu-west-1.amazonaws.com",
    "image-pipeline/processor@sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
  ])

  canary = {
    held_versions = { processor = "7" }
    percent       = 10
  }
}

output "image_digest" {
  description = "Digest of the image that runs."
  value       = module.compute.image_digest
}

# Stands for the modules that this one is deployed with.
locals {
  ci_access = {
    function_role_arns = {
      announcer = "arn:aws:iam::333333333333:role/image-pipeline-prod-announcer"
      api       = "arn:aws:iam::333333333333:role/image-pipeline-prod-api"
      processor = "arn:aws:iam::333333333333:role/image-pipeline-prod-processor"
    }
  }

  storage = {
    backfill_queue = {
      arn = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-backfill"
      url = "https://sqs.eu-west-1.amazonaws.com/333333333333/image-pipeline-prod-backfill"
    }
    processed_bucket = {
      arn  = "arn:aws:s3:::image-pipeline-prod-processed-333333333333-eu-west-1"
      name = "image-pipeline-prod-processed-333333333333-eu-west-1"
    }
    queue = {
      arn                        = "arn:aws:sqs:eu-west-1:333333333333:image-pipeline-prod-uploads"
      max_receive_count          = 5
      url                        = "https://sqs.eu-west-1.amazonaws.com/333333333333/image-pipeline-prod-uploads"
      visibility_timeout_seconds = 360
    }
    table = {
      arn        = "arn:aws:dynamodb:eu-west-1:333333333333:table/image-pipeline-prod-images"
      indexes    = ["by-status", "newest"]
      name       = "image-pipeline-prod-images"
      stream_arn = "arn:aws:dynamodb:eu-west-1:333333333333:table/image-pipeline-prod-images/stream/2026-01-01"
    }
    upload_bucket = {
      arn  = "arn:aws:s3:::image-pipeline-prod-uploads-333333333333-eu-west-1"
      name = "image-pipeline-prod-uploads-333333333333-eu-west-1"
    }
  }
}
