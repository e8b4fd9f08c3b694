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

# It wants variables.tf and outputs.tf of every example too, which say most in one file. tests/modules checks the modules' own files.
rule "terraform_standard_module_structure" {
  enabled = false
}
