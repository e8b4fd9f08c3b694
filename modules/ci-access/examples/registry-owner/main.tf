provider "aws" {
  region = "eu-west-1"
}

module "ci_access" {
  source = "../.."

  account_id  = "444444444444"
  environment = "shared"
  functions   = []
  github      = { repository = "acme/images", owner_id = "1234", repository_id = "5678" }
  name_prefix = "image-pipeline-shared"
  region      = "eu-west-1"
  registry    = { account_id = "444444444444", manage = true, name = "image-pipeline/processor" }

  state = {
    bucket     = "image-pipeline-tfstate-444444444444-eu-west-1"
    lock_table = "image-pipeline-tflock"
    prefix     = "live/shared"
  }
}
