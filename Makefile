# Tandem's few commands; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
GENERATE := $(BIN)/python -m grpc_tools.protoc -I protos \
  --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy --plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc
PROTOS := $(shell find protos -name '*.proto')
# Each part in a process of its own, one after the other: the services' tests share topics' names, and each needs its own log.
TEST_PARTS := $(wildcard tests/contract/test_*.py) $(filter-out %__pycache__,$(wildcard tests/integration/*)) tests/e2e
# What `make check` runs beside its checks; empty where they have just been run.
FAST_TESTS ?= tests/unit tests/contract
# What has a long variant.
NIGHTLY := tests/e2e/test_fuzz.py $(wildcard tests/e2e/test_oracle.py tests/integration/test_oracle.py)
# Tests and benchmarks compute with the library's own threads; more processes gain nothing on a small machine.
export TOKENIZERS_PARALLELISM := false

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(STAMP) ## Start the platform, ingest examples/, ask, rate, show, stop
	$(BIN)/tandem demo

.PHONY: tune-demo
tune-demo: $(STAMP) ## From documents and ratings to a better model in use, and what it is worth: an hour or more
	@mkdir -p build
	$(BIN)/tandem tune demo --out build/tune-demo.json --html build/tune-demo.html

.PHONY: test
test: $(STAMP) ## Every test: unit, contract, integration, end to end
	$(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal tests/unit
	@set -e; for part in $(TEST_PARTS); do echo "$$part"; $(BIN)/pytest $$part; done

.PHONY: test-fast
test-fast: $(STAMP) ## Unit and contract tests: two minutes
	$(BIN)/pytest $(FAST_TESTS)

# With many times the examples and steps that `make test` takes: an hour or so.
.PHONY: nightly
nightly: export TANDEM_FUZZ_EXAMPLES ?= 2000
nightly: export TANDEM_ORACLE_STEPS ?= 5000
nightly: $(STAMP) ## The long variants: fuzzing of every RPC, permissions against their oracle
	$(BIN)/pytest $(NIGHTLY)

.PHONY: check
check: $(STAMP) ## Format, lint, types, import contracts, protos and their drift, audits, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r services
	$(BIN)/python deploy/audit.py
	$(BIN)/buf lint
	$(BIN)/buf format -d --exit-code
	$(BIN)/buf breaking --against '.git#ref=HEAD'
	@$(MAKE) --no-print-directory drift
	$(if $(FAST_TESTS),$(BIN)/pytest $(FAST_TESTS))

.PHONY: drift
drift: $(STAMP) ## Check that gen/ and docs/rpcs.md are what protos/ makes
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	  $(GENERATE) --python_out=$$fresh --mypy_out=quiet:$$fresh --grpc_python_out=$$fresh --mypy_grpc_out=quiet:$$fresh $(PROTOS) && \
	  diff -r -x __pycache__ $$fresh gen || { echo 'gen/ is not what protos/ makes: run make protos' >&2; exit 1; } && \
	  $(BIN)/python docs/rpc_table.py protos > $$fresh/rpcs.md && \
	  diff $$fresh/rpcs.md docs/rpcs.md || { echo 'docs/rpcs.md is not what protos/ makes: run make protos' >&2; exit 1; }

.PHONY: protos
protos: $(STAMP) ## Generate gen/ and docs/rpcs.md from protos/
	$(BIN)/buf format -w
	rm -rf gen && mkdir gen
	$(GENERATE) --python_out=gen --mypy_out=quiet:gen --grpc_python_out=gen --mypy_grpc_out=quiet:gen $(PROTOS)
	$(BIN)/python docs/rpc_table.py protos > docs/rpcs.md

.PHONY: bench
bench: $(STAMP) ## Measure the platform beside its references: a table, and JSON in build/
	$(BIN)/python -m bench

.PHONY: bench-quality
bench-quality: $(STAMP) ## Measure searches and answers against their bars: a report, and JSON in build/
	$(BIN)/python -m bench.quality

.PHONY: clean
clean: ## Remove the environment and what the tools left
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

$(STAMP): pyproject.toml deploy/local/install.sh
	deploy/local/install.sh $(PYTHON) $(VENV)
	@touch $(STAMP)
