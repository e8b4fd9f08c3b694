provider "aws" {
  region = "eu-west-1"
}

module "ci_access" {
  source = "../.."

  account_id  = "111111111111"
  environment = "dev"
  github      = { repository = "acme/images" }
  name_prefix = "image-pipeline-dev"
  region      = "eu-west-1"
  registry    = { account_id = "444444444444", name = "image-pipeline/processor" }

  state = {
    bucket     = "image-pipeline-tfstate-111111111111-eu-west-1"
    lock_table = "image-pipeline-tflock"
    prefix     = "live/dev"
  }
}
