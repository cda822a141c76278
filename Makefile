# make demo, make test: each does all the set-up it needs, on a machine with git, make, python3 and apt.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := .node
PIP := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-header --no-annotate pyproject.toml
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DEBIAN_FRONTEND := noninteractive
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup stubs lock lint test unit integration cluster bench soak matrix vm fuzz sim demo deb release install clean

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make setup        system packages, virtual environment, stubs, Node packages
setup: $(VENV)/.system $(VENV)/.installed $(VENV)/.node

$(VENV)/.system: deploy/packages.txt deploy/packages.sh
	@echo "set-up: system packages"
	@bash deploy/packages.sh deploy/packages.txt
	@mkdir -p $(VENV) && touch $@

$(BIN)/python: | $(VENV)/.system
	@echo "set-up: virtual environment"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml deploy/requirements-dev.lock proto/generate.py $(shell find proto -name '*.proto') | $(BIN)/python
	@echo "set-up: Python packages and stubs"
	@$(PIP) --require-hashes --requirement deploy/requirements-dev.lock
	@$(PIP) --no-deps --no-build-isolation --editable .
	@sed -i '1{/ -S$$/!s/$$/ -S/}' $(BIN)/argosy
	@touch $@

$(VENV)/.node: tests/integration/node/package.json | $(BIN)/python
	@echo "set-up: Node packages"
	@mkdir -p $(NODE) && cp tests/integration/node/package.json $(NODE)/
	@cd $(NODE) && npm install --silent --no-audit --no-fund --no-update-notifier >/dev/null 2>&1
	@touch $@

## make stubs        the Python stubs again, after a change to proto/
stubs: setup
	@$(BIN)/python proto/generate.py 2>/dev/null

## make lock         the newest versions that pyproject.toml allows, with hashes, into deploy/requirements*.lock
lock: setup
	@$(PIP) uv
	@$(LOCK) --upgrade --output-file deploy/requirements.lock >/dev/null
	@$(LOCK) --upgrade --extra dev --output-file deploy/requirements-dev.lock >/dev/null

## make lint         ruff, mypy --strict, import-linter, buf lint
lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@PYTHONPATH=client:server:cluster $(BIN)/lint-imports
	@$(NODE)/node_modules/.bin/buf lint proto && echo "buf lint: no findings"

## make test         lint, then every test
test: lint
	@$(BIN)/pytest -q $(PYTEST)

## make unit         the fast tests alone
unit: setup
	@$(BIN)/pytest -q tests/unit tests/conformance $(PYTEST)

integration: setup
	@$(BIN)/pytest -q tests/integration $(PYTEST)

cluster: setup
	@$(BIN)/pytest -q tests/cluster $(PYTEST)

## make soak         the slow tests alone, and 10,000 random operations (DRIVER="--seed 7 --operations 500" replays)
soak: setup
	@$(BIN)/pytest -q -m slow $(PYTEST)
	@$(BIN)/python -m tests.driver $(DRIVER)

## make matrix       the tests in trees of Debian 13 and others (MATRIX="--on ubuntu-24.04 --mirror Ubuntu=URL")
matrix: setup
	@bash deploy/packages.sh tests/matrix/packages.txt
	@$(BIN)/python -m tests.matrix $(MATRIX)

## make vm           a machine of its own with systemd, AppArmor and Debian's kernel: installed, used, rebooted (VM="--on debian-12")
vm: setup
	@bash deploy/packages.sh tests/vm/packages.txt
	@$(BIN)/python -m tests.vm $(VM)

## make fuzz         every reader of foreign bytes against bytes that nobody meant
fuzz: setup
	@PYTHONPATH=client:server:cluster $(BIN)/python -m tests.fuzz $(FUZZ)

## make demo         a tour of everything, on a machine left as it was found
demo: setup
	@bash deploy/demo.sh

## make bench        side by side with docker and podman, where they are installed
bench: setup
	@$(BIN)/python -m tests.bench $(BENCH)

## make sim          1,000 nodes and 30,000 tasks through the real scheduler
sim: setup
	@$(BIN)/python -m tests.bench.simulation

## make deb          the Debian package, into dist/ (DEB="--arch arm64 --python 3.13")
deb: setup
	@bash deploy/packages.sh deploy/deb/packages.txt
	@$(BIN)/python deploy/deb/build.py $(DEB)

## make release      what a version is given out as, into dist/, tested as it is given out
release: setup
	@bash deploy/packages.sh deploy/deb/packages.txt
	@$(BIN)/python deploy/release.py $(RELEASE)

## make install      argosy on this machine for good (deploy/install.sh)
install:
	@bash deploy/install.sh

clean:
	@rm -rf $(VENV) $(NODE) client/argosy/v1 client/argosy/cluster .mypy_cache .ruff_cache .pytest_cache
