# Two commands on a fresh machine with Python >= 3.11 and make: `make demo` and `make test`. Both set themselves up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One process more than cores: the scenarios, which mostly wait, share one (tests/scenarios/conftest.py).
SIDE_BY_SIDE := -n $(shell $(PYTHON) -c 'import os; print(min(os.cpu_count(), 5) + 1)') --dist loadgroup
READY := $(VENV)/.ready

.PHONY: help demo sandbox test test-all check bench clean

help:
	@echo "make demo     the walk-through in Slack, in a sandbox; under a minute once installed"
	@echo "make sandbox  the sandbox to click in, in your browser"
	@echo "make test     every check: tests, ruff, mypy, layers"
	@echo "make test-all the same with the long tests: every scenario on every version of Rancher"
	@echo "make bench    measure, print a table, write bench.json"

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("gpu-cluster needs Python 3.11 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/gpu-cluster sandbox --headless --play walkthrough

sandbox: $(READY)
	$(BIN)/gpu-cluster sandbox

check: $(READY)
	$(BIN)/python -m pip check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy manifests/verify/probe.py
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow"

test-all: check
	$(BIN)/pytest $(SIDE_BY_SIDE) --hypothesis-profile=thorough

bench: $(READY)
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) build dist *.egg-info bench.json
