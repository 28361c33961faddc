# Hydra: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -qq -c constraints.txt
PARTS := pyproject.toml constraints.txt
SOAK_MINUTES ?= 10
SMOKE_DB := sqlite:///$(CURDIR)/data/hydra/smoke.db

.PHONY: help setup run fmt lint test unit smoke nightly soak bench up down clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Hydra needs Python 3.11 or newer: install it, or say make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "this Python cannot make environments; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }

$(VENV)/.hydra-core: $(PARTS) | $(BIN)/python
	@echo "installing Hydra (once; half a minute with a fast line)"
	@$(PIP) -e .
	@echo "compiling the kernels (once)"
	@$(BIN)/python -m hydra.warm
	@touch $@

$(VENV)/.hydra-dev: $(VENV)/.hydra-core
	@echo "installing what tests and checks need (once)"
	@$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.hydra-bench: $(VENV)/.hydra-dev
	@echo "installing the peers of the benchmarks (once)"
	@$(PIP) -e '.[bench]'
	@touch $@

setup: $(VENV)/.hydra-dev  ## make .venv with everything for development

run: $(VENV)/.hydra-core  ## play one season on the embedded real prices
	@$(BIN)/hydra replay --bars data/sample/crypto_4h.csv --profile ftmo-2step

fmt: $(VENV)/.hydra-dev  ## format the sources
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

lint: $(VENV)/.hydra-dev  ## ruff and mypy
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

test: $(VENV)/.hydra-dev  ## all tests but the nightly ones
	@$(BIN)/pytest -m "not nightly" -n logical --dist loadfile

unit: $(VENV)/.hydra-dev  ## unit and property tests only
	@$(BIN)/pytest tests/unit tests/property -m "not nightly and not slow"

smoke: $(VENV)/.hydra-core  ## a season over all sample data, verified, within five minutes
	@rm -f data/hydra/smoke.db*
	@timeout 300 $(BIN)/hydra replay --quiet --season smoke --db $(SMOKE_DB) \
	  --bars data/sample/crypto_4h.csv --bars data/sample/eurusd_1h.csv
	@$(BIN)/hydra db verify --db $(SMOKE_DB)

nightly: $(VENV)/.hydra-dev  ## the tests that take long
	@$(BIN)/pytest -m nightly

soak: $(VENV)/.hydra-dev  ## the daemon at 60 times the pace under random faults, SOAK_MINUTES=10
	@$(BIN)/python -m tests.support.soak --minutes $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

bench: $(VENV)/.hydra-bench  ## measure Hydra beside its peers (tens of minutes)
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.models
	@$(BIN)/python -m benchmarks.daemon

up:  ## start a PostgreSQL for --db (docker compose)
	@docker compose version >/dev/null 2>&1 || \
	  { echo "make up needs docker with its compose plugin; SQLite needs neither" >&2; exit 2; }
	@docker compose up --detach --wait
	@echo "export HYDRA_DB_URL=postgresql://hydra:hydra@127.0.0.1:5432/hydra"

down:  ## stop that PostgreSQL; its data stays
	@docker compose down

clean:  ## remove the environment and all caches; keep data/hydra
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
