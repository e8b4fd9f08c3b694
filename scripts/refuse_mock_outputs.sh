#!/usr/bin/env bash
# Refuses to apply a saved plan that carries mock outputs, or that cannot be read. Terragrunt runs it before every apply,
# with Terraform's arguments. Every mock in live/_units holds the word looked for here.
set -euo pipefail

for argument in "$@"; do
  if [[ $argument == -* || ! -f $argument ]]; then
    continue
  fi
  # Into a variable: a search that ends a pipe early, or a program that fails in one, would let the plan pass.
  if ! plan="$("${TG_CTX_TF_PATH:-terraform}" show -json "$argument")" || [[ -z $plan ]]; then
    echo "The plan $argument cannot be read: plan again and apply that plan." >&2
    exit 1
  fi
  if [[ $plan == *mock-output* ]]; then
    echo "This plan was made with mock outputs, before the units it depends on existed: plan again and apply that plan." >&2
    exit 1
  fi
done
