# The one door: `make help` lists what it opens.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.SUFFIXES:

# Dozens of processes start in tests and in the demo; none should compile our modules anew.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
BIN := .venv/bin
UV := .venv/tools/bin/uv
PARTS := api check codec operator worker cli
SOURCES := $(addsuffix /src,$(PARTS))
TESTS := tests tools
PYTEST_ARGS ?=

##@ Everyday

.PHONY: help
help: ## Show this list.
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-zA-Z0-9_-]+:.*##/ {printf "  %-18s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: sync
sync: ## Make .venv from requirements.lock (nothing to do when it is already that).
	@$(PYTHON) tools/sync.py

.PHONY: demo
demo: sync examples-data ## Run the example on a real cluster (kind if Docker answers, else this machine), from nothing to rows.
	@$(BIN)/python -m tools.demo

.PHONY: demo-down
demo-down: sync ## Remove the demo's cluster and all that ran on it.
	@$(BIN)/python -m tools.demo --down

DEMO_DIR ?= .data/demo
.PHONY: demo-dev
demo-dev: sync examples-data ## Run the example without a cluster, on embedded Temporal, PostgreSQL and Redis.
	$(BIN)/tidemill dev examples/flights --once --data-dir $(DEMO_DIR)
	@echo
	@echo "What was loaded:"
	$(BIN)/tidemill psql --data-dir $(DEMO_DIR) warehouse --quiet -c "\
		SELECT airline, count(*) AS flights, count(built) AS known_plane, round(avg(arr_delay), 1) AS mean_delay \
		FROM flights GROUP BY airline ORDER BY flights DESC LIMIT 5"
	@echo "What was rejected, and why; the original rows are kept:"
	$(BIN)/tidemill psql --data-dir $(DEMO_DIR) warehouse --quiet \
		-c "SELECT step, rules, count(*) AS rows FROM tidemill.dead_letters GROUP BY step, rules" \
		-c "SELECT line, rules, row_text FROM tidemill.dead_letters ORDER BY line LIMIT 5"
	@echo "Look further:"
	@echo "  $(BIN)/tidemill psql --data-dir $(DEMO_DIR) warehouse     the databases, in psql"
	@echo "  $(BIN)/tidemill dev examples/flights                 the same with its schedule, and Temporal's own UI"
	@echo "  $(BIN)/tidemill lint examples                        what is wrong with manifests"

.PHONY: examples-data
examples-data: sync ## Fetch the real files that the examples read.
	@$(BIN)/python tools/examples_data.py

.PHONY: clean
clean: ## Remove what the targets made in this folder, .venv included.
	rm -rf .venv .venv.lock build dist htmlcov .data .cache .coverage .coverage.* \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .grimp_cache

##@ Code

.PHONY: generate
generate: sync ## Make everything that is generated: CRDs and the reference.
	@$(BIN)/python tools/generate.py

.PHONY: manifests
manifests: generate ## The same as generate, by kubebuilder's name.

.PHONY: fmt
fmt: sync ## Format the code.
	$(BIN)/ruff format $(SOURCES) $(TESTS)
	$(BIN)/ruff check --fix-only --quiet $(SOURCES) $(TESTS)

.PHONY: lint
lint: sync ## Format check, lint and import contracts.
	$(BIN)/ruff format --check $(SOURCES) $(TESTS)
	$(BIN)/ruff check $(SOURCES) $(TESTS)
	$(BIN)/lint-imports

.PHONY: vet
vet: mypy pyright ## Types: mypy --strict and pyright.

.PHONY: mypy
mypy: sync
	$(BIN)/mypy

.PHONY: pyright
pyright: sync
	$(BIN)/pyright --warnings

.PHONY: verify
verify: sync ## Generated files are in step with the code, untracked ones included.
	@$(BIN)/python tools/generate.py --check

.PHONY: docs-check
docs-check: sync ## Links of the docs lead somewhere, and commands that aren't run name their test.
	@$(BIN)/python tools/check_docs.py

.PHONY: chart-lint
chart-lint: sync ## Helm's own lint of the chart, if Helm is built already.
	@$(BIN)/python tools/chart.py lint

.PHONY: check
check: sync ## All that needs no running component: lint, types, contracts, generated files, docs.
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target pyright mypy lint verify docs-check chart-lint

.PHONY: lock
lock: ## Make requirements.lock anew from pyproject.toml (UPGRADE=1 takes newer versions).
	@test -x $(UV) || $(PYTHON) tools/sync.py
	$(UV) pip compile pyproject.toml --all-extras --universal --generate-hashes --no-emit-index-url \
		--python-version 3.11 --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) \
		--quiet --output-file requirements.lock

##@ Tests

.PHONY: envtest
envtest: ## Build kube-apiserver, etcd and kubectl (or use KUBEBUILDER_ASSETS), both Helms, an S3 server; fetch Prometheus.
	@$(PYTHON) tools/envtest.py
	@$(PYTHON) tools/envtest.py helm helm3
	@$(PYTHON) tools/envtest.py versitygw
	@$(PYTHON) tools/prometheus.py

.PHONY: test
test: check envtest examples-data ## Everything: check, then unit, integration and e2e tests with coverage.
	@echo "test: unit, integration and e2e tests on real components"
	@rm -f .coverage .coverage.*
	@$(BIN)/python -m pytest -p tests.support.coverage_gate --tidemill-coverage=85 tests/unit tests/integration tests/e2e $(PYTEST_ARGS)

.PHONY: test-unit
test-unit: sync ## Tests that start no component.
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

.PHONY: test-integration
test-integration: sync envtest ## Tests of each part on real components.
	$(BIN)/python -m pytest tests/integration $(PYTEST_ARGS)

.PHONY: test-e2e
test-e2e: sync envtest examples-data ## Tests of the whole path, of the examples and of the docs' commands.
	$(BIN)/python -m pytest tests/e2e $(PYTEST_ARGS)

.PHONY: test-cluster
test-cluster: sync envtest examples-data ## Those of them that need pods: on kind where Docker answers, else on a bare node (root).
	$(BIN)/python -m pytest tests/e2e/cluster $(PYTEST_ARGS)

.PHONY: test-slow
test-slow: sync envtest examples-data ## What make test leaves out for its length.
	TIDEMILL_PROPERTIES=explore $(BIN)/python -m pytest -m slow tests $(PYTEST_ARGS)

##@ Cluster

CLUSTER := $(BIN)/python -m tools.cluster

.PHONY: cluster-up
cluster-up: sync ## Start a cluster with a kubeconfig of its own: kind if Docker answers, else a bare node (root, Debian 12).
	@$(CLUSTER) up

.PHONY: cluster-down
cluster-down: sync ## Remove it and all that ran on it.
	@$(CLUSTER) down

.PHONY: cluster-status
cluster-status: sync ## Say what of it runs.
	@$(CLUSTER) status

.PHONY: kind-up
kind-up: sync ## Start a cluster in Docker, with kind-config.yaml; KIND_IMAGE names another node image.
	@$(CLUSTER) --with kind up

.PHONY: kind-down
kind-down: sync ## Remove that one.
	@$(CLUSTER) --with kind down

.PHONY: deploy
deploy: images ## Start the cluster if need be, and install or upgrade the chart on it, with Temporal, Postgres and Redis.
	@$(CLUSTER) deploy

.PHONY: undeploy
undeploy: sync ## Uninstall the release from it.
	@$(CLUSTER) undeploy

KUBECTL ?= kubectl
OPERATOR_ARGS ?=

.PHONY: install
install: ## Put the CRDs into the cluster that kubectl speaks to.
	$(KUBECTL) apply --server-side -f crds/

.PHONY: uninstall
uninstall: ## Take the CRDs out of it, when there are no objects of our kinds any more: these need the operator to go.
	@left=$$($(KUBECTL) get tidemill --all-namespaces --no-headers --ignore-not-found 2>/dev/null \
		-o custom-columns=kind:.kind,namespace:.metadata.namespace,name:.metadata.name || true); \
	if [ -n "$$left" ]; then \
		printf '%s\n' "There are objects whose Schedules and runs the operator cleans up; without it they would hang:" "$$left" \
			"Delete them while it runs (\`make run\`), and then the kinds:" \
			"  $(KUBECTL) delete dplrun,dpl,workerpool,temporalconnection --all --all-namespaces" "  make uninstall" >&2; \
		exit 1; \
	fi
	$(KUBECTL) delete --ignore-not-found -f crds/

.PHONY: run
run: sync ## Run the operator here, for that cluster, with OPERATOR_ARGS.
	exec $(BIN)/python -m tidemill_operator --kubeconfig "$${KUBECONFIG:-$$HOME/.kube/config}" $(OPERATOR_ARGS)

##@ Measure

.PHONY: bench
bench: sync envtest ## All measurements; one JSON object a line on stdout.
	@$(BIN)/python -m tests.bench

.PHONY: bench-quick
bench-quick: sync envtest ## The measurements that matter most, in under five minutes.
	@$(BIN)/python -m tests.bench --quick

.PHONY: scaling-plots
scaling-plots: sync ## Simulate pools under several scalers anew, for the docs' pictures and figures.
	@$(BIN)/python -m tests.support.scaling.plots

##@ Build

.PHONY: build
build: sync ## Make the wheel and the source distribution in dist/.
	$(BIN)/hatchling build -d dist

.PHONY: chart
chart: sync ## Pack the chart, and the CRDs as one file, in dist/.
	@$(BIN)/python tools/chart.py dist

.PHONY: chart-keep
chart-keep: sync ## Keep the chart as one that upgrades are tested from: when it is released.
	@$(BIN)/python tools/chart.py keep

.PHONY: krew
krew: sync ## Pack kubectl tidemill for krew in dist/krew/ (KREW_ARGS="--platform linux/amd64" packs one).
	@$(BIN)/python tools/krew.py $(KREW_ARGS)

.PHONY: images
images: sync examples-data ## Build the images with CONTAINER_TOOL (docker if it answers, else buildah), list their contents.
	@CONTAINER_TOOL="$(CONTAINER_TOOL)" $(BIN)/python -m tools.images $(IMAGES)
