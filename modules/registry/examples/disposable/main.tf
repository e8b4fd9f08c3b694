provider "aws" {
  region = "eu-west-1"
}

module "registry" {
  source = "../.."

  force_destroy           = true
  name                    = "image-pipeline/processor"
  reader_account_ids      = ["111111111111"]
  untagged_retention_days = 1
}
