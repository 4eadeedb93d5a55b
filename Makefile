# make demo: the whole loop on a small real stream.   make test: the tests.   make check: lint and types.
# make test-fast: the tests that load no model, open no browser and build no site.   make test-ray: those on a Ray cluster.
# make docs: the documentation as a site in site/.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two processes of tests, each with one thread: what two cores carry.
TEST_PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal

.PHONY: demo test test-fast test-ray test-slow check docs format wheel clean

demo: $(STAMP)
	$(BIN)/adaptinf demo

test: $(STAMP)
	$(PYTEST) -m "not slow and not gpu and not ray"

test-fast: $(STAMP)
	$(PYTEST) -m "not slow and not gpu and not ray and not heavy"

# One process: each test uses both cores.
test-ray: $(STAMP)
	$(BIN)/python -m pytest -q -m "ray and not slow"

test-slow: $(STAMP)
	$(BIN)/python -m pytest -q -m "slow or ray"

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP)
	$(BIN)/python scripts/reference.py
	# Not --quiet: with it warnings are not counted, and --strict never fails.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP)
	# With the build tools that are installed, which constraints.txt pins.
	$(BIN)/python -m build --wheel --no-isolation

# Written last, so its presence means that everything is installed.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python scripts/install.py -c constraints.txt -e ".[dev]"
	touch $(STAMP)

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
