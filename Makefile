# Needs GNU make, bash and Python 3.11 or newer. Everything else goes into .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Tests and studies start processes by the dozen, which should not compile the package each time.
export PYTHONDONTWRITEBYTECODE :=

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
TOOLS := $(addprefix $(BIN)/,python pytest ruff mypy lint-imports pre-commit)

# A stamp beside missing tools is no set-up: phony targets are always made again.
ifneq ($(words $(wildcard $(TOOLS))),$(words $(TOOLS)))
.PHONY: $(STAMP)
endif

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: .venv
.venv: $(STAMP) ## Create the virtual environment, or bring it up to date

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "kdray needs Python 3.11 or newer, $(PYTHON) is " + sys.version.split()[0] + "; give another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: demo
demo: $(STAMP) ## Run the example study on this machine
	$(BIN)/python -m kdray.study tune_configs/demo.yaml

# A file of tests stays in one of the processes, of which there is one for each core. Those that start
# Ray come first: processes that start one another leave cores idle, which other files use meanwhile.
# -v takes back the -q of pyproject.toml: a whole run ends with the whole summary.
PARALLEL := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: test
test: $(STAMP) ## Run the tests, but for the longest
	$(BIN)/python -m pytest -v $(PARALLEL) -m "not long" $(ARGS)

.PHONY: test-all
test-all: $(STAMP) ## Run every test
	$(BIN)/python -m pytest -v $(PARALLEL) $(ARGS)

.PHONY: check
check: $(STAMP) ## Run the fast tests: no Ray session, nothing slow
	$(BIN)/python -m pytest $(PARALLEL) -m "not ray and not slow" $(ARGS)

# mutmut has an environment of its own, which sees the packages of .venv, and works in build/mutants on
# links to all that is here: it is told what to change by a pyproject.toml alone.
MUTMUT := .venv/mutmut/bin
PURELIB := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
FILE ?= kdray/fit/loop.py
TESTS ?= $(patsubst kdray/%,tests/%,$(dir $(FILE)))

$(MUTMUT)/mutmut: $(STAMP)
	$(BIN)/python -m venv .venv/mutmut
	$(MUTMUT)/pip install -q -c constraints.txt mutmut==3.8.1
	$(BIN)/python $(PURELIB) > "$$($(MUTMUT)/python $(PURELIB))/kdray.pth"

.PHONY: mutants
mutants: $(MUTMUT)/mutmut ## Change FILE in small ways, and list the changes that TESTS do not notice
	rm -rf build/mutants && mkdir -p build/mutants
	ln -s $(abspath $(filter-out build pyproject.toml,$(wildcard * .ci .gitignore))) build/mutants
	sed 's|^\[tool.mutmut\].*|&\nonly_mutate = ["$(FILE)"]\npytest_add_cli_args_test_selection = ["$(TESTS)"]|' \
	  pyproject.toml > build/mutants/pyproject.toml
	cd build/mutants && PYTHONPATH=$$PWD/mutants OMP_NUM_THREADS=1 nice $(abspath $(MUTMUT))/mutmut run
	cd build/mutants && $(abspath $(MUTMUT))/mutmut results

.PHONY: lint
lint: $(STAMP) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(STAMP) ## Format the code and repair what ruff can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: generated
generated: $(STAMP) ## Write anew what is worked out from the code: schema, commands, licences
	$(BIN)/python -m tools

.PHONY: wheel
wheel: $(STAMP) ## Build the wheel and the source distribution into dist/, offline
	rm -rf build dist
	$(BIN)/python -c 'from setuptools import build_meta as b; b.build_sdist("dist"); b.build_wheel("dist")'

.PHONY: wheels
wheels: wheel ## Fetch the wheels of all dependencies beside kdray's own, for Containerfile
	$(BIN)/pip wheel --wheel-dir wheels -c constraints.txt dist/*.whl

.PHONY: site
site: $(STAMP) ## Build the documentation into site/; needs the extra `docs`
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: clean
clean: ## Remove caches and build products; .venv, runs and data stay
	rm -rf build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(wildcard benchmarks kdray tests tools) -name __pycache__ -type d -prune -exec rm -rf {} +
