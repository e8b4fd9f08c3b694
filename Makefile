# The front door. Every target sets up what it needs first; the work is done by src/imagepipe, Terragrunt and pytest.
#   ENV=<folder of live/>|all   CLOUD=local|aws   ROLE=plan|apply (as CI)   YES=1 (do not ask)   IMAGES=<folder>   FUNCTIONS=source|image   SECONDS=<of fuzzing>

SHELL     := bash
PYTHON    ?= python3
ENV       ?= dev
CLOUD     ?= local
JOBS      ?= 2
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
setup: ## Put tools (.tools) and Python packages (.venv) into this clone, where missing
	@$(install)

.PHONY: demo test
demo: $(functions) ## Deploy dev on the local cloud and send images through [IMAGES=<folder>, FUNCTIONS=image]
	@$(imagepipe) demo $(if $(IMAGES),"$(IMAGES)")

test: setup ## Run every test, longest first, but the long way of a release [JOBS=2: so many at a time]
	@pytest -m "not rehearsal" -n $(JOBS) --no-loadscope-reorder tests/e2e tests/chaos tests/image tests/local tests/modules tests/live tests/image_processor tests/imagepipe tests/scripts tests/docs

## Local cloud
.PHONY: up down status logs env
up: $(functions) ## Start the local cloud of this clone [FUNCTIONS=source|image: what functions run from]
	@$(imagepipe) up

down: runtime ## Stop it; its state is kept
	@$(imagepipe) down

status: runtime ## Say whether it runs, and where
	@$(imagepipe) status

logs: runtime ## Show what it and the functions on it wrote [FOLLOW=1]
	@$(imagepipe) logs $(if $(FOLLOW),--follow)

env: runtime ## Print shell lines for plain terragrunt, aws and curl: eval "$(make env)"
	@$(imagepipe) env $(deploy)

## Environments [ENV=<folder of live/>|all, CLOUD=local|aws]
.PHONY: bootstrap affected plan drift apply smoke destroy output
bootstrap: runtime ## Make the state bucket and the lock table
	@$(imagepipe) bootstrap $(deploy)

affected: runtime ## Units that a change reaches [BASE=<ref>, JSON=1]
	@$(imagepipe) affected $(call option,BASE,base) $(call flag,JSON,json)

plan: runtime ## Show what would change [UNITS=affected|<unit>,…, BUNDLE=<file> to be applied, BASE=<ref>, LABELS]
	@$(imagepipe) plan $(deploy) $(call option,UNITS,units) $(call option,BASE,base) $(call option,BUNDLE,bundle) $(call option,LABELS,labels)

drift: runtime ## Show where what is deployed differs from the files [JSON=1]
	@$(imagepipe) drift $(deploy) $(call flag,JSON,json)

apply: runtime ## Bring an environment to what its files say, or apply what was planned [BUNDLE=<file>, YES=1]
	@$(imagepipe) apply $(deploy) $(call option,BUNDLE,bundle) $(yes)

smoke: runtime ## Send an image through an environment, read it by the API, remove it
	@$(imagepipe) smoke $(deploy)

destroy: runtime ## Remove everything an environment consists of [YES=1]
	@$(imagepipe) destroy $(deploy) $(yes)

output: runtime ## Print upload bucket, API and dashboard of an environment
	@$(imagepipe) outputs $(deploy)

## Releases
.PHONY: promote promote-check rollback rehearse-release release
promote: runtime ## Branch that releases what really runs in one environment to the next [FROM=dev TO=staging]
	@$(imagepipe) promote --cloud $(CLOUD) $(call option,FROM,from) $(call option,TO,to)

promote-check: runtime ## Check a pull request that changes a release file [BASE=<ref>]
	@$(imagepipe) promote-check --cloud $(CLOUD) $(call option,BASE,base)

rollback: runtime ## Branch that takes an environment back to a release it ran before [ENV=prod TO=<ref>|previous]
	@$(imagepipe) rollback $(deploy) $(call option,TO,to)

rehearse-release: setup ## Three environments on the local cloud: a change on its way to prod and back, every step shown
	@PYTHONPATH=tests FUNCTIONS=image pytest -m "not aside" -p story --exitfirst --quiet --no-header --tb=short \
		tests/e2e/test_deployment.py::test_plan_saved_with_mock_outputs_cannot_be_applied tests/e2e/test_access.py tests/e2e/test_releases.py

release: runtime ## Tag a version that the changelog speaks of [VERSION=x.y.z]
	@$(imagepipe) release "$(VERSION)"

## Operations [ENV, CLOUD; DRY_RUN=1 only says, YES=1 does not ask, RATE=<messages a second>]
.PHONY: failures redrive reprocess reconcile
failures: runtime ## Show which images are not served, why and since when [STATUS=FAILED|REJECTED, JSON=1]
	@$(imagepipe) failures $(deploy) $(call option,STATUS,status) $(call flag,JSON,json) $(found)

redrive: runtime ## Put failed images back to work [REASON=<code>, IMAGE=<id>, DISCARD=1 deletes what is no event]
	@$(imagepipe) redrive $(deploy) $(call option,REASON,reason) $(call option,IMAGE,image) $(call option,RATE,rate) \
		$(call flag,DRY_RUN,dry-run) $(call flag,DISCARD,discard) $(yes)

reprocess: runtime ## Make images again [OUTDATED=1, ALL=1, IDS, KEYS=<prefix>, SINCE, UNTIL, RECIPE, STATUS, REASON, RESTART=1]
	@$(imagepipe) reprocess $(IDS) $(deploy) $(call flag,OUTDATED,outdated) $(call flag,ALL,all) $(call option,KEYS,prefix) \
		$(call option,SINCE,since) $(call option,UNTIL,until) $(call option,RECIPE,recipe) $(call option,STATUS,status) \
		$(call option,REASON,reason) $(call option,RATE,rate) $(call flag,RESTART,restart) $(call flag,DRY_RUN,dry-run) $(yes)

reconcile: runtime ## Compare bucket, records and variants [REPAIR=1, ONLY=<difference>, MIN_AGE=15m, JSON=1]
	@$(imagepipe) reconcile $(deploy) $(call flag,REPAIR,repair) $(call option,ONLY,only) $(call option,MIN_AGE,min-age) \
		$(call option,RATE,rate) $(call flag,JSON,json) $(yes) $(found)

## Benchmarks [IMAGES=<folder of camera JPEGs>]
.PHONY: bench bench-frontier bench-isolation
bench: setup ## Ours beside sharp and Pillow: build/bench/engine.{json,svg}
	@python benchmarks/engine.py $(if $(IMAGES),--images "$(IMAGES)")

bench-isolation: setup ## What decoding in a confined process costs: build/bench/isolation.json
	@PYTHONPATH=lambda-image/src:src python benchmarks/isolation.py

bench-frontier: setup ## Encoders by width and content: build/bench/frontier.{json,svg}
	@python benchmarks/frontier.py $(if $(IMAGES),--images "$(IMAGES)")

## Image [ENV=…, or PLATFORM=linux/amd64|linux/arm64]
.PHONY: base build build-push bench-cold
base: image-tools ## Pin the newest digest of the public base, or make a stand-in [BASE=<image>]
	@$(imagepipe) base --env $(ENV) $(if $(BASE),--image $(BASE))

build: image-tools ## Build the image, with Docker or without; the same source gives the same digest
	@$(imagepipe) build --env $(ENV)

build-push: image-tools ## Build, push by digest, scan, attach the SBOM, write live/<ENV>/release.json [DIRTY=1, REGISTRY=host:port]
	@$(imagepipe) build-push $(deploy)

bench-cold: image-tools ## How fast the image starts, beside one written by hand → build/bench/cold.json [ROUNDS=15]
	@python benchmarks/cold.py --rounds $(ROUNDS)

## Proof
.PHONY: chaos bench-pipeline
chaos: setup ## Faults between all services, and an oracle [EVENTS=2000, SEED=n, SEEDS=1]: build/chaos.json
	@PYTHONPATH=tests python -m chaos $(if $(EVENTS),--events $(EVENTS)) $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS))

bench-pipeline: setup ## Requests per image and events per second: build/bench/pipeline.json
	@PYTHONPATH=tests python -m chaos.bench

## Development
.PHONY: test-unit test-modules test-live test-local test-image test-e2e fuzz lint format docs docs-pictures requirements
test-unit: setup ## Engine, handlers, command line: seconds
	@pytest tests/image_processor tests/imagepipe tests/scripts tests/docs

test-modules: setup ## Terraform modules, planned against the provider
	@pytest tests/modules

test-live: setup ## Terragrunt layer: rendered, compared, never applied
	@pytest tests/live

test-local: setup ## Local cloud and function host
	@pytest tests/local

test-image: setup ## The image: built twice, looked into, pushed to a registry on loopback
	@pytest tests/image

test-e2e: setup ## Three environments on the local cloud, from bootstrap to destroy, the long way of a release too [FUNCTIONS=source]
	@pytest tests/e2e

fuzz: setup ## Send mutated images of every format through the processor [SECONDS=60]
	@PYTHONPATH=lambda-image/src:src python benchmarks/fuzz --seconds $(or $(SECONDS),60)

lint: setup ## Formatters, linters and type checkers, changing nothing
	@ruff check && ruff format --check
	@mypy
	@terraform fmt -check -recursive modules && terragrunt hcl fmt --check --working-dir live
	@TFLINT_PLUGIN_DIR="$(CURDIR)/.tools/bin" tflint --recursive --config "$(CURDIR)/.tflint.hcl" --chdir modules
	@shellcheck scripts/*.sh .ci/run
	@yamllint --strict .github
	@actionlint && zizmor --quiet --offline --pedantic .github
	@hadolint --ignore DL3059 lambda-image/Dockerfile benchmarks/naive/Dockerfile

format: setup ## Reformat Python and HCL
	@ruff check --fix; ruff format
	@terraform fmt -recursive modules; terragrunt hcl fmt --working-dir live

docs: setup ## Write the tables that follow from code and data: modules' READMEs, docs/
	@python docs/tables.py
	@for module in modules/*/; do terraform-docs --config .terraform-docs.yml "$$module"; done

docs-pictures: setup ## Make the pictures in docs/img from a run of the demo
	@python docs/pictures.py

requirements: setup ## Compile requirements.in to requirements.txt with the newest versions that fit
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header lambda-image/requirements.in -o lambda-image/requirements.txt
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header lambda-image/requirements-build.in -c lambda-image/requirements.txt -o lambda-image/requirements-build.txt
	@uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header requirements.in -c lambda-image/requirements.txt -o requirements.txt
