# Values that the module refuses. Each message holds the words above its run: tests/modules checks that, too.

provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  account_id  = "333333333333"
  environment = "prod"
  github      = { repository = "acme/images", owner_id = "1234", repository_id = "5678" }
  name_prefix = "image-pipeline-prod"
  region      = "eu-west-1"
  registry    = { account_id = "444444444444", name = "image-pipeline/processor" }
  state = {
    bucket     = "image-pipeline-tfstate-333333333333-eu-west-1"
    lock_table = "image-pipeline-tflock"
    prefix     = "live/prod"
  }
}

# account_id must be 12 digits, not '12345'
run "account_id_of_5_digits" {
  command = plan

  variables {
    account_id = "12345"
  }

  expect_failures = [var.account_id]
}

# ids of APIs like a1b2c3d4e5, without patterns
run "api_by_a_pattern" {
  command = plan

  variables {
    api_ids = ["*"]
  }

  expect_failures = [var.api_ids]
}

# environment must be 2 to 31 lower-case letters, digits and hyphens
run "environment_with_capitals" {
  command = plan

  variables {
    environment = "Prod"
  }

  expect_failures = [var.environment]
}

# 3 to 40 lower-case letters, digits and hyphens
run "name_prefix_with_capitals" {
  command = plan

  variables {
    name_prefix = "Image_Pipeline"
  }

  expect_failures = [var.name_prefix]
}

# words of lower-case letters, and not ci
run "function_that_would_be_a_role_of_workflows" {
  command = plan

  variables {
    functions = ["ci"]
  }

  expect_failures = [var.functions]
}

# github.repository_id must be numbers
run "owner_id_that_is_no_number" {
  command = plan

  variables {
    github = merge(var.github, { owner_id = "acme" })
  }

  expect_failures = [var.github]
}

# region must be a region's code, like eu-west-1, not 'Ireland'
run "region_that_is_no_code" {
  command = plan

  variables {
    region = "Ireland"
  }

  expect_failures = [var.region]
}

# an account of 12 digits and a repository
run "registry_account_by_name" {
  command = plan

  variables {
    registry = merge(var.registry, { account_id = "shared" })
  }

  expect_failures = [var.registry]
}

# github.repository_id go together
run "repository_id_without_owner_id" {
  command = plan

  variables {
    github = merge(var.github, { owner_id = null })
  }

  expect_failures = [var.github]
}

# like owner/name, without patterns, not 'acme/*'
run "repository_with_a_pattern" {
  command = plan

  variables {
    github = merge(var.github, { repository = "acme/*" })
  }

  expect_failures = [var.github]
}

# a prefix without * or a slash at its end
run "state_prefix_with_a_pattern" {
  command = plan

  variables {
    state = merge(var.state, { prefix = "live/*" })
  }

  expect_failures = [var.state]
}

# must not be 'plan'
run "environment_of_pull_requests" {
  command = plan

  variables {
    environment = "plan"
  }

  expect_failures = [var.environment]
}
