# Everything that a developer does here. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# Any Python from 3.11 on, the first that there is: make setup PYTHON=python3.13
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
endif
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.threadmill-setup
REFERENCE := .venv-reference
REFERENCE_STAMP := $(REFERENCE)/.threadmill-setup

DISTRIBUTIONS := protos services/chassis services/threads services/store services/runs gateway cli
PACKAGES := services/chassis/threadmill_chassis services/threads/threadmill_threads services/store/threadmill_store \
	services/runs/threadmill_runs gateway/threadmill_gateway cli/threadmill_cli
# What may share the machine with other tests, and what needs it for itself: faults are injected under load.
SUITES := tests/unit tests/integration tests/conformance tests/e2e
LONELY_SUITES := tests/chaos
ARGS ?=
# Of pytest: ARGS chose no test of a suite.
NOTHING_CHOSEN := [ $$? -eq 5 ]

# Child processes of make find the tools of the virtual environment first (protoc plugins, buf).
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMP) ## Create .venv with everything that is needed, pinned and verified by hash

# Made again when a pin or a distribution changes; the environment itself is kept. Without --no-deps pip would look for
# `package[extra]` anew, beside its pin, and refuse what was released since.
$(STAMP): requirements/constraints.txt $(DISTRIBUTIONS:%=%/pyproject.toml)
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or newer was not found: install it, or name it with 'make setup PYTHON=/path/to/python'" >&2; exit 1; fi
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is older than Python 3.11: name a newer one with 'make setup PYTHON=/path/to/python'" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "$(PYTHON) lacks the venv module: install it (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		$(foreach distribution,$(DISTRIBUTIONS),-e $(distribution))
	@touch $@

.PHONY: dev
dev: setup ## Run everything on this machine with the example application (ARGS="--port 9000")
	@exec $(BIN)/threadmill dev --config examples/task_maistro/langgraph.json $(ARGS)

.PHONY: test
test: setup ## Run all tests (ARGS="-k name -x")
	$(BIN)/python -m pytest $(SUITES) --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS) || $(NOTHING_CHOSEN)
	$(BIN)/python -m pytest $(LONELY_SUITES) $(ARGS) || $(NOTHING_CHOSEN)

.PHONY: conformance
conformance: setup $(REFERENCE_STAMP) ## Compare with the reference server, in its own .venv-reference (ARGS="-k store")
	$(BIN)/python -m pytest tests/conformance/differential --reference-environment $(REFERENCE) $(ARGS)

$(REFERENCE_STAMP): requirements/reference.txt
	@[ -x $(REFERENCE)/bin/python ] || $(BIN)/python -m venv $(REFERENCE)
	$(REFERENCE)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

.PHONY: bench
bench: setup ## Compare with other servers, side by side (ARGS="--rounds 1 --quick --only wait"); installs them first
	$(BIN)/python tests/bench/run.py $(ARGS)

.PHONY: check
check: setup ## Lint, format, types, boundaries between services, contracts, generated stubs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(PACKAGES) protos/generate.py
	$(BIN)/lint-imports
	cd protos && buf lint
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(BIN)/python protos/generate.py "$$folder/threadmill_protos"; \
	diff -r -x __pycache__ "$$folder/threadmill_protos" protos/threadmill_protos || { \
		echo "protos/threadmill_protos is not what the .proto files say: run 'make generate'" >&2; exit 1; }

.PHONY: format
format: setup ## Format the code and apply safe fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: generate
generate: setup ## Generate protos/threadmill_protos from the .proto files
	$(BIN)/python protos/generate.py

.PHONY: lock
lock: setup ## Pin the newest versions that requirements/*.in permit
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--upgrade --output-file requirements/constraints.txt requirements/dev.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --constraint <(sed -n 's/^\(lang[a-z-]*==[^ ]*\).*/\1/p' requirements/constraints.txt) \
		--upgrade --output-file requirements/reference.txt requirements/reference.in

.PHONY: clean
clean: ## Remove the environment and all caches, but no data
	rm -rf $(VENV) $(REFERENCE) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
