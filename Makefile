# The front door. Every target sets up what it needs first; the work is done by scripts/imagepipe, Terragrunt and pytest.
#   ENV=dev|staging|prod|shared|all   CLOUD=local|aws   YES=1 (do not ask)   IMAGES=<folder>

SHELL     := bash
PYTHON    ?= python3
ENV       ?= dev
CLOUD     ?= local

# From any folder: make -C <clone> …
imagepipe := .venv/bin/imagepipe
deploy    := --env $(ENV) --cloud $(CLOUD)
yes       := $(if $(YES),--yes)
install   := PATH="$(PATH)" $(PYTHON) scripts/setup.py
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^## /{printf "\n\033[1m%s\033[0m\n", substr($$0, 4)} /^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' Makefile

.PHONY: runtime setup
runtime:
	@$(install) --runtime

## Start here
setup: ## Put tools (.tools) and Python packages (.venv) into this clone, where missing
	@$(install)

.PHONY: demo test
demo: runtime ## Deploy dev on the local cloud and send images through [IMAGES=<folder>]
	@$(imagepipe) demo $(if $(IMAGES),"$(IMAGES)")

test: setup ## Run every test: unit, modules, live, local cloud, end to end
	@pytest tests/unit tests/scripts tests/modules tests/live tests/local tests/e2e

## Local cloud
.PHONY: up down status logs env
up: runtime ## Start the local cloud of this clone
	@$(imagepipe) up

down: runtime ## Stop it; its state is kept
	@$(imagepipe) down

status: runtime ## Say whether it runs, and where
	@$(imagepipe) status

logs: runtime ## Show what it and the functions on it wrote [FOLLOW=1]
	@$(imagepipe) logs $(if $(FOLLOW),--follow)

env: runtime ## Print shell lines for plain terragrunt, aws and curl: eval "$(make env)"
	@$(imagepipe) env $(deploy)

## Environments [ENV=dev|staging|prod|shared|all, CLOUD=local|aws]
.PHONY: bootstrap plan apply destroy output
bootstrap: runtime ## Make the state bucket and the lock table
	@$(imagepipe) bootstrap $(deploy)

plan: runtime ## Show what would change, with a table per unit
	@$(imagepipe) plan $(deploy)

apply: runtime ## Bring an environment to what its files say [YES=1]
	@$(imagepipe) apply $(deploy) $(yes)

destroy: runtime ## Remove everything an environment consists of [YES=1]
	@$(imagepipe) destroy $(deploy) $(yes)

output: runtime ## Print upload bucket, API and dashboard of an environment
	@$(imagepipe) outputs $(deploy)

## Development
.PHONY: test-unit test-modules test-live test-local test-e2e lint format docs requirements
test-unit: setup ## Engine, handlers, command line: seconds
	@pytest tests/unit tests/scripts

test-modules: setup ## Terraform modules, planned against the provider
	@pytest tests/modules

test-live: setup ## Terragrunt layer: rendered, compared, never applied
	@pytest tests/live

test-local: setup ## Local cloud and function host
	@pytest tests/local

test-e2e: setup ## Three environments on the local cloud, from bootstrap to destroy
	@pytest tests/e2e

lint: setup ## Formatters, linters and type checkers, changing nothing
	@ruff check scripts lambda-image/src tests && ruff format --check scripts lambda-image/src tests
	@mypy
	@terraform fmt -check -recursive modules && terragrunt hcl fmt --check --working-dir live
	@TFLINT_PLUGIN_DIR="$(CURDIR)/.tools/bin" tflint --recursive --config "$(CURDIR)/.tflint.hcl" --chdir modules
	@shellcheck scripts/*.sh .ci/run
	@yamllint --strict .github
	@actionlint && zizmor --quiet --offline .github

format: setup ## Reformat Python and HCL
	@ruff check --fix scripts lambda-image/src tests; ruff format scripts lambda-image/src tests
	@terraform fmt -recursive modules; terragrunt hcl fmt --working-dir live

docs: setup ## Write the tables in the modules' READMEs
	@for module in modules/*/; do terraform-docs --config .terraform-docs.yml "$$module"; done

requirements: setup ## Compile requirements.in to requirements.txt with the newest versions that fit
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header lambda-image/requirements.in -o lambda-image/requirements.txt
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements.in -c lambda-image/requirements.txt -o requirements.txt
