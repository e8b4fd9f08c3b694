provider "aws" {
  region = "eu-west-1"
}

module "storage" {
  source = "../.."

  account_id          = "111111111111"
  deletion_protection = false
  force_destroy       = true
  name_prefix         = "image-pipeline-dev"
  region              = "eu-west-1"
}
