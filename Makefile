# The front door. Every target sets up what it needs first; the work is done by src/imagepipe, Terragrunt and pytest.
#   ENV=<folder of live/>|all   CLOUD=local|aws   ROLE=plan|apply (as CI)   YES=1 (do not ask)   IMAGES=<folder>   FUNCTIONS=source|image   SECONDS=<of fuzzing>

SHELL     := bash
PYTHON    ?= python3
ENV       ?= dev
CLOUD     ?= local
# Deployments wait for the provider's polling: three workers keep two cores busy.
JOBS      ?= 3
ROUNDS    ?= 15
# Read by the commands themselves.
export DIRTY FUNCTIONS PLATFORM REGISTRY ROLE

# From any folder: make -C <clone> …
imagepipe := .venv/bin/imagepipe
deploy    := --env $(ENV) --cloud $(CLOUD)
yes       := $(if $(YES),--yes)
option     = $(if $($(1)),--$(2) "$($(1))")
flag       = $(if $($(1)),--$(2))
# Having found something is an exit code of its own for scripts, and no error of make.
found      = || [ $$? -eq 3 ]
# What functions run from has to be installed or built with.
functions := $(if $(filter image,$(FUNCTIONS)),image-tools,runtime)
compile   := uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header
install   := PATH="$(PATH)" $(PYTHON) scripts/setup.py
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^## /{printf "\n\033[1m%s\033[0m\n", substr($$0, 4)} /^[a-z0-9-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' Makefile

.PHONY: runtime setup
runtime:
	@$(install) --runtime

.PHONY: image-tools
image-tools: runtime
	@$(install) --image

## Start here
setup: ## Install missing tools (.tools) and Python packages (.venv) into this clone
	@$(install)

.PHONY: demo check test
demo: $(functions) ## Deploy dev on the local cloud and send images through [IMAGES=<folder>, FUNCTIONS=image]
	@$(imagepipe) demo $(if $(IMAGES),"$(IMAGES)")

check: lint test-unit ## Check a change in three minutes: format, lint, types, walls and the quick tests

test: setup ## Run all tests but the long rehearsal of a release [JOBS=3: workers of pytest]
	@pytest -m "not rehearsal" -n $(JOBS) --no-loadscope-reorder tests/e2e tests/chaos tests/image tests/local tests/modules tests/live tests/image_processor tests/imagepipe tests/scripts tests/docs

## Local cloud
.PHONY: up down status logs env
up: $(functions) ## Start the local cloud of this clone [FUNCTIONS=source|image: what functions run from]
	@$(imagepipe) up

down: runtime ## Stop it; its state is kept
	@$(imagepipe) down

status: runtime ## Show whether it runs, and where
	@$(imagepipe) status

logs: runtime ## Show its logs and those of the functions on it [FOLLOW=1]
	@$(imagepipe) logs $(if $(FOLLOW),--follow)

env: runtime ## Print shell lines for plain terragrunt, aws and curl: eval "$(make env)"
	@$(imagepipe) env $(deploy)

## Environments [ENV=<folder of live/>|all, CLOUD=local|aws]
.PHONY: doctor bootstrap affected plan drift apply smoke destroy output
doctor: runtime ## Check what an environment needs: credentials, quotas, registry, image, alarm receivers … [JSON=1]
	@$(imagepipe) doctor $(deploy) $(call flag,JSON,json) $(found)

bootstrap: runtime ## Create the state bucket and the lock table
	@$(imagepipe) bootstrap $(deploy)

affected: runtime ## List the units that a change affects [BASE=<ref>, JSON=1]
	@$(imagepipe) affected $(call option,BASE,base) $(call flag,JSON,json)

plan: runtime ## Show what an apply would change [UNITS=affected|<unit>,…, BUNDLE=<file> for apply, REVIEWED=<file>: must equal it, BASE=<ref>]
	@$(imagepipe) plan $(deploy) $(call option,UNITS,units) $(call option,BASE,base) $(call option,BUNDLE,bundle) $(call option,REVIEWED,reviewed)

drift: runtime ## Compare what is deployed with the configuration [JSON=1]
	@$(imagepipe) drift $(deploy) $(call flag,JSON,json)

apply: runtime ## Apply the configuration of an environment [BUNDLE=<file>: only what it says, YES=1]
	@$(imagepipe) apply $(deploy) $(call option,BUNDLE,bundle) $(yes)

smoke: runtime ## Test a deployed environment by an image [ALL=1: confinement, alarm and dead letter too; this calls people]
	@$(imagepipe) smoke $(deploy) $(call flag,ALL,all)

destroy: runtime ## Destroy everything in an environment except the state bucket [YES=1]
	@$(imagepipe) destroy $(deploy) $(yes)

output: runtime ## Print the upload bucket and the addresses of the API and the dashboard
	@$(imagepipe) outputs $(deploy)

## Releases
.PHONY: promote promote-check rollback rehearse-release release
promote: runtime ## Create a branch that releases what runs in one environment to the next one [FROM=dev TO=staging]
	@$(imagepipe) promote --cloud $(CLOUD) $(call option,FROM,from) $(call option,TO,to)

promote-check: runtime ## Check a pull request that changes a release file [BASE=<ref>]
	@$(imagepipe) promote-check --cloud $(CLOUD) $(call option,BASE,base) $(call option,RAN,ran)

rollback: runtime ## Create a branch that takes an environment back to an earlier release [ENV=prod TO=<ref>|previous]
	@$(imagepipe) rollback $(deploy) $(call option,TO,to)

rehearse-release: setup ## Take a change through three environments of the local cloud to prod and back, and show every step
	@PYTHONPATH=tests FUNCTIONS=image pytest -m "not aside" -p story --exitfirst --quiet --no-header --tb=short \
		tests/e2e/test_deployment.py::test_plan_saved_with_mock_outputs_cannot_be_applied tests/e2e/test_access.py tests/e2e/test_releases.py

release: runtime ## Tag a version listed in CHANGELOG.md [VERSION=x.y.z]
	@$(imagepipe) release "$(VERSION)"

## Operations [ENV, CLOUD; DRY_RUN=1 changes nothing, YES=1 does not ask, RATE=<messages per second>]
.PHONY: failures redrive reprocess reconcile
failures: runtime ## List images that are not served, grouped by reason [STATUS=FAILED|REJECTED, JSON=1]
	@$(imagepipe) failures $(deploy) $(call option,STATUS,status) $(call flag,JSON,json) $(found)

redrive: runtime ## Retry failed images [REASON=<code>, IMAGE=<id>, DISCARD=1 deletes messages that are no events]
	@$(imagepipe) redrive $(deploy) $(call option,REASON,reason) $(call option,IMAGE,image) $(call option,RATE,rate) \
		$(call flag,DRY_RUN,dry-run) $(call flag,DISCARD,discard) $(yes)

reprocess: runtime ## Process images again [OUTDATED=1, ALL=1, IDS, KEYS=<prefix>, SINCE, UNTIL, RECIPE, STATUS, REASON, RESTART=1]
	@$(imagepipe) reprocess $(IDS) $(deploy) $(call flag,OUTDATED,outdated) $(call flag,ALL,all) $(call option,KEYS,prefix) \
		$(call option,SINCE,since) $(call option,UNTIL,until) $(call option,RECIPE,recipe) $(call option,STATUS,status) \
		$(call option,REASON,reason) $(call option,RATE,rate) $(call flag,RESTART,restart) $(call flag,DRY_RUN,dry-run) $(yes)

reconcile: runtime ## Compare uploaded objects, records and variants [REPAIR=1, ONLY=<difference>, MIN_AGE=15m, JSON=1]
	@$(imagepipe) reconcile $(deploy) $(call flag,REPAIR,repair) $(call option,ONLY,only) $(call option,MIN_AGE,min-age) \
		$(call option,RATE,rate) $(call flag,JSON,json) $(yes) $(found)

## Benchmarks [IMAGES=<folder of camera JPEGs>]
.PHONY: bench bench-calls bench-frontier bench-isolation
bench: setup ## Compare the engine with sharp and Pillow: build/bench/engine.{json,svg}
	@python benchmarks/engine.py $(if $(IMAGES),--images "$(IMAGES)")

bench-calls: setup ## List the system calls of decoders and encoders, with strace: build/bench/system-calls.json [SECONDS=60]
	@PYTHONPATH=lambda-image/src:src:benchmarks:benchmarks/fuzz python benchmarks/system_calls.py --seconds $(or $(SECONDS),60)

bench-isolation: setup ## Measure what decoding in a confined process costs, and what a hostile one reaches: build/bench/isolation.json
	@PYTHONPATH=lambda-image/src:src:benchmarks python benchmarks/isolation.py

bench-frontier: setup ## Compare encoders by width and content: build/bench/frontier.{json,svg}
	@python benchmarks/frontier.py $(if $(IMAGES),--images "$(IMAGES)")

## Container image [ENV=…, or PLATFORM=linux/amd64|linux/arm64]
.PHONY: base build build-push bench-cold
base: image-tools ## Pin the newest digest of the public base image, or make a stand-in [BASE=<image>]
	@$(imagepipe) base --env $(ENV) $(if $(BASE),--image $(BASE))

build: image-tools ## Build the container image, with or without Docker; the same source gives the same digest
	@$(imagepipe) build --env $(ENV)

build-push: image-tools ## Build, push by digest, scan, attach the SBOM, write live/<ENV>/release.json [DIRTY=1, REGISTRY=host:port]
	@$(imagepipe) build-push $(deploy)

bench-cold: image-tools ## Compare cold starts with those of a Dockerfile written by hand: build/bench/cold.json [ROUNDS=15]
	@python benchmarks/cold.py --rounds $(ROUNDS)

## Proof
.PHONY: chaos bench-pipeline
chaos: setup ## Inject faults between all services, and check every result [EVENTS=2000, SEED=n, SEEDS=1]: build/chaos.json
	@PYTHONPATH=tests:benchmarks/fuzz python -m chaos $(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

bench-pipeline: setup ## Measure requests per image and events per second: build/bench/pipeline.json
	@PYTHONPATH=tests:benchmarks/fuzz python -m chaos.bench

## Development
.PHONY: test-unit test-modules test-live test-local test-image test-e2e test-chaos nightly nightly-chaos nightly-fuzz nightly-requests nightly-release fuzz verdicts lint format generate docs docs-pictures pin requirements
test-unit: setup ## Test engine, handlers, command line and docs, with the coverage that a change may not lower
	@pytest -n $(JOBS) --dist worksteal --cov --cov-report= tests/image_processor tests/imagepipe tests/scripts tests/docs && coverage report --skip-covered --skip-empty | tail -1

test-modules: setup ## Test the Terraform modules by plans
	@pytest tests/modules

test-live: setup ## Test the Terragrunt layer: render it and compare, apply nothing
	@pytest tests/live

test-local: setup ## Test the local cloud and its function host
	@pytest tests/local

test-image: setup ## Test the container image: build it twice, inspect it, push it to a registry on this machine
	@pytest -n $(JOBS) --no-loadscope-reorder tests/image

test-e2e: setup ## Test three environments on the local cloud from bootstrap to destroy [FUNCTIONS=source]
	@pytest -m "not rehearsal" -n $(JOBS) --no-loadscope-reorder tests/e2e

test-chaos: setup ## Test the pipeline under faults, with a few seeds
	@pytest tests/chaos

nightly: nightly-chaos nightly-fuzz nightly-requests nightly-release ## Search longer than make test does, for about two hours

nightly-chaos: setup ## Search with many seeds of chaos [SEEDS=20, EVENTS=400]
	@PYTHONPATH=tests:benchmarks/fuzz python -m chaos --events $(or $(EVENTS),400) --seeds $(or $(SEEDS),20)

nightly-fuzz: setup ## Search with mutated images for half an hour [SECONDS=1800], then with changed files of live/ [EXAMPLES=50]
	@PYTHONPATH=lambda-image/src:src python benchmarks/fuzz --seconds $(or $(SECONDS),1800)
	@EXAMPLES=$(or $(EXAMPLES),50) pytest tests/live/test_affected.py

nightly-requests: setup ## Send odd requests to every route of the API [REQUESTS=10000]
	@REQUESTS=$(or $(REQUESTS),10000) pytest tests/image_processor/handlers/test_fuzz_requests.py

nightly-release: setup ## Test the environments with the whole way of a release
	@pytest -n $(JOBS) --no-loadscope-reorder tests/e2e

fuzz: setup ## Send mutated images of every format through the processor [SECONDS=60]
	@PYTHONPATH=lambda-image/src:src python benchmarks/fuzz --seconds $(or $(SECONDS),60)

verdicts: setup ## Send pairs of broken and good images through few decoders; answers must be those of fresh ones [PAIRS=10000]
	@PAIRS=$(or $(PAIRS),10000) pytest -q -s tests/image_processor/decoder/test_verdicts.py

lint: setup ## Check format, lint and types; change nothing
	@ruff check && ruff format --check
	@mypy
	@lint-imports --no-logo --cache-dir .mypy_cache/imports
	@python scripts/check_words.py
	@python -m imagepipe.live.law --check
	@terraform fmt -check -recursive modules && terragrunt hcl fmt --check --working-dir live
	@TFLINT_PLUGIN_DIR="$(CURDIR)/.tools/bin" tflint --recursive --config "$(CURDIR)/.tflint.hcl" --chdir modules
	@shellcheck scripts/*.sh .ci/run
	@yamllint --strict .github
	@actionlint && zizmor --quiet --offline --pedantic .github
	@hadolint --ignore DL3059 lambda-image/Dockerfile benchmarks/naive/Dockerfile

format: setup ## Reformat Python and HCL
	@ruff check --fix; ruff format
	@terraform fmt -recursive modules; terragrunt hcl fmt --working-dir live

generate: setup ## Write what follows from recipe.py and the modules' variables: JSON schemas, Terraform types, names in env.hcl
	@python -m imagepipe.live.law

docs: setup ## Write the tables made from code and data: modules' READMEs, docs/
	@python docs/tables.py
	@for module in modules/*/; do terraform-docs --config .terraform-docs.yml "$$module"; done

docs-pictures: setup ## Make the pictures in docs/img from a run of the demo
	@python docs/pictures.py

pin: setup ## Write the hashes of the versions in tools.json: of releases, and of the AWS provider
	@$(install) --pin

requirements: setup ## Compile both pyproject.toml to requirements.txt with the newest versions that fit
	@$(compile) lambda-image/pyproject.toml -o lambda-image/requirements.txt
	@$(compile) --group lambda-image/pyproject.toml:build -c lambda-image/requirements.txt -o lambda-image/requirements-build.txt
	@$(compile) pyproject.toml lambda-image/pyproject.toml --group test --group lint --group setup -c lambda-image/requirements.txt -o requirements.txt
