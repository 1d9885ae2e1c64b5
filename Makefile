# fedpin: `make run` on a fresh machine sets everything up and runs the default experiment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Two workers, each file of tests by one of them, those that take long first (tests/conftest.py).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Where it is set, every process compiles some 4,000 modules of the libraries anew: 10 s each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install run test test-faults check bench clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-20s %s\n", $$1, $$2}'

install: $(STAMP) ## make .venv with the exact versions of requirements.lock, and this project in it

run: $(STAMP) ## a federated run; ARGS="experiment=smoke" passes overrides
	@$(BIN)/python -m sim run $(ARGS)

test: $(STAMP) ## the tests, in two processes; ARGS="-m 'not slow'" passes options to pytest, ARGS=-n0 has one process
	$(PYTEST) $(ARGS)

test-faults: $(STAMP) ## injected faults only: killed processes, full disks, cut networks, broken files
	$(PYTEST) -m faults $(ARGS)

check: $(STAMP) ## ruff, mypy and import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) ## measured ratios: the rounds to one plain training loop, reading to bare decoding, live to cached teachers
	@OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks $(ARGS)

clean: ## remove .venv and the caches of tools; runs and the corpus cache stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv installs the lock several times faster than pip; where it cannot, pip does it.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("fedpin needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $$(grep '^uv==' requirements.lock) \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -r requirements.lock \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
