"""Terragrunt: targets, units, plans and drift."""
