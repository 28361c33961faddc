# Hydra: `make` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet -c constraints.txt
PARTS := pyproject.toml constraints.txt


.PHONY: help setup run fmt lint test unit smoke nightly bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Hydra needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(BIN)/python $(PARTS)
	@echo "installing Hydra (half a minute, once)"
	@$(PIP) -e .
	@echo "compiling the kernels (once)"
	@$(BIN)/python -m hydra.warm
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	@echo "installing what tests and checks need (once)"
	@$(PIP) -e '.[dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@echo "installing the peers of the benchmarks (once)"
	@$(PIP) -e '.[bench]'
	@touch $@

setup: $(VENV)/.dev  ## make .venv with everything for development

run: $(VENV)/.core  ## play one season on the embedded real prices
	@$(BIN)/hydra replay --bars data/sample/crypto_4h.csv

fmt: $(VENV)/.dev  ## format the sources
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

lint: $(VENV)/.dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

test: $(VENV)/.dev  ## all tests but the nightly ones
	@$(BIN)/pytest -m "not nightly"

unit: $(VENV)/.dev  ## unit and property tests only
	@$(BIN)/pytest tests/unit tests/property -m "not nightly and not slow"

smoke: $(VENV)/.core  ## a longer season over all sample data, within five minutes
	@timeout 300 $(BIN)/hydra replay --quiet --bars data/sample/crypto_4h.csv --db sqlite:///$(CURDIR)/data/hydra/smoke.db
	@timeout 300 $(BIN)/hydra replay --quiet --bars data/sample/eurusd_1h.csv --db sqlite:///$(CURDIR)/data/hydra/smoke.db
	@$(BIN)/hydra db verify --db sqlite:///$(CURDIR)/data/hydra/smoke.db

nightly: $(VENV)/.dev  ## the tests that take long
	@$(BIN)/pytest -m nightly

bench: $(VENV)/.bench  ## measure Hydra beside its peers (tens of minutes)
	@$(BIN)/python -m benchmarks

clean:  ## remove the environment and all caches, keep data/hydra
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
