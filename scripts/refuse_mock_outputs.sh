#!/usr/bin/env bash
# Refuses to apply a saved plan that carries mock outputs. Terragrunt runs it before every apply, with Terraform's arguments.
# Every mock in live/_units holds the word looked for here.
set -euo pipefail

for argument in "$@"; do
  if [[ $argument != -* && -f $argument ]] && "${TG_CTX_TF_PATH:-terraform}" show -json "$argument" | grep -q 'mock-output'; then
    echo "This plan was made with mock outputs, before the units it depends on existed: plan again and apply that plan." >&2
    exit 1
  fi
done
