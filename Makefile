# Tephra. `make run` shows the system at work; `make test` proves it. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
SWITCH_BUILD := build/switch
PY := $(VENV)/bin/python
export TEPHRA_CACHE ?= $(HOME)/.cache/tephra
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

##@ The two commands
.PHONY: run test
run: setup ## Cluster, images, chart, the weather example; shows live data and leaves it running (CLUSTER=existing: your kubeconfig)
	$(PY) -m cluster.run $(if $(NAME),--name $(NAME)) $(if $(filter existing,$(CLUSTER)),--existing) \
		$(if $(EXTERNAL_ADDRESS),--external-address $(EXTERNAL_ADDRESS))
test: lint test-unit test-switch test-cluster ## Everything: lint, types, contracts, unit, properties, the switch, then real clusters

##@ Parts of the tests
.PHONY: lint lint-switch test-unit test-switch test-cluster faults
lint: setup lint-switch ## ruff, mypy strict, import contracts, clang-tidy, generated files up to date
	ruff check . && ruff format --check .
	mypy
	lint-imports
	$(PY) -m tephra.api.crd crds --check && $(PY) -m tephra.api.reference docs/reference --check && $(PY) charts/readme.py --check
test-unit: setup assets ## Unit and property tests: seconds; real brokers and a real API server on loopback
	KUBEBUILDER_ASSETS=$$($(PY) -m cluster assets) $(PY) -m pytest tests/unit tests/properties -q $(ARGS)
lint-switch: switch ## gcc -Wall -Wextra -Werror and clang-tidy over the switch
	nice run-clang-tidy -quiet -p $(SWITCH_BUILD) '/switch/(src|tools|bench)/' >$(SWITCH_BUILD)/clang-tidy.log 2>&1 \
		|| { grep -E "(warning|error):" $(SWITCH_BUILD)/clang-tidy.log >&2; exit 1; }
test-switch: setup switch ## quake: unit tests in C, then the conformance cases with real packets, on quake and on Open vSwitch
	meson test -C $(SWITCH_BUILD) --no-rebuild --print-errorlogs --timeout-multiplier 4
	$(PY) -m pytest tests/switch -q --durations=10 $(ARGS)
test-cluster: setup images image-quake ## Tests on a fresh cluster of two real nodes
	$(PY) -m pytest tests/cluster -q --durations=15 $(ARGS)
faults: setup images switch bench-switch-packages ## Kills things for minutes and counts losses; prints a table
	$(PY) -m pytest tests/faults -q -s $(ARGS)

##@ Benchmarks
.PHONY: bench-foundation bench-placement bench-switch bench-switch-packages
bench-switch-packages:
	@requirements/debian.sh bench-switch >&2
BENCH_ARGS = $(if $(ROW),--row $(ROW)) $(if $(QUICK),--quick)
bench-foundation: setup ## Every row with a figure, as JSON lines (ROW=n for one, QUICK=1 for a short run)
	@$(PY) -m cluster.images build >&2
	@$(PY) -m bench.foundation $(BENCH_ARGS)
bench-placement: setup ## Placement beside the papers' ILP and heuristics; the papers' figures redrawn in build/figures
	@$(PY) -m bench.placement $(BENCH_ARGS)
bench-switch: setup switch bench-switch-packages ## quake beside OVS-DPDK and testpmd; wants two quiet cores
	@$(PY) -m bench.switch $(BENCH_ARGS)

##@ What is built
.PHONY: switch images image-quake push crds manifests assets lock
switch: ## quake, its supervisor and quakectl, in build/switch
	@requirements/debian.sh switch
	@test -f $(SWITCH_BUILD)/build.ninja || meson setup $(SWITCH_BUILD) switch >/dev/null
	@ninja -C $(SWITCH_BUILD) --quiet
images: setup ## OCI images in build/images (load them with kind, k3s or ctr)
	$(PY) -m cluster.images build
image-quake: setup switch ## The switch's image, build/images/quake.tar
	$(PY) -m cluster.images build quake
push: images ## Push the images to a registry: make push REGISTRY=registry.example/tephra
	@test -n "$(REGISTRY)" || { echo "say where to: make push REGISTRY=registry.example/tephra" >&2; exit 2; }
	$(PY) -m cluster.images push $(REGISTRY)
crds: setup ## crds/*.yaml and docs/reference from the pydantic models
	$(PY) -m tephra.api.crd crds && $(PY) -m tephra.api.reference docs/reference
manifests: images assets ## The chart as plain YAML: build/tephra.yaml
	"$$($(PY) -m cluster assets)/helm" template tephra charts/tephra -n tephra-system -f build/images/values.yaml > build/tephra.yaml
	@echo "build/tephra.yaml: create namespace tephra-system, then kubectl apply --server-side -f build/tephra.yaml"
assets: setup ## Kubernetes' own binaries, built once from the Go module proxy and cached
	@$(PY) -m cluster assets >/dev/null
lock: setup ## Renew requirements/*.lock (needs uv)
	requirements/lock.sh

##@ House-keeping
.PHONY: setup deps clean help
setup: deps $(VENV)/.ready ## Debian packages and the Python environment
deps:
	@requirements/debian.sh cluster
$(VENV)/.ready: requirements/dev.lock pyproject.toml
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
clean: ## Take down every cluster of ours and remove all that was built or cached
	python3 -m cluster down --all
	rm -rf "$${TEPHRA_CLUSTER_DIR:-/var/lib/tephra-clusters}"
	rm -rf build $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	chmod -R u+w "$(TEPHRA_CACHE)" 2>/dev/null || true
	rm -rf "$(TEPHRA_CACHE)"
	find . -name __pycache__ -type d -prune -exec rm -rf {} + ; rm -rf operator/*.egg-info
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
