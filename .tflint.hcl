config {
  call_module_type = "local"
}

plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Without source and version: the plugin that `make setup` put into TFLINT_PLUGIN_DIR.
plugin "aws" {
  enabled = true
}

# It asks every example for variables.tf and outputs.tf, too. tests/modules checks the files of the modules.
rule "terraform_standard_module_structure" {
  enabled = false
}
