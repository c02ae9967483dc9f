PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DEMO_TASK ?= dlrm/rmsnorm_residual_silu
DEMO_SECONDS ?= 115
# Set to anything: all tests that run side by side tell what they cover, and take a fifth longer; else those of the strict core do.
# What measures is never traced.
COVERAGE ?=
CORE := core search

# Tests start hundreds of interpreters: each would compile this package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-thorough lint format clean

demo: $(STAMP)
	@$(BIN)/kernelevolve run task=$(DEMO_TASK) budget.seconds=$(DEMO_SECONDS) evaluation.cache=off

# What measures comes last, with nothing beside it but its like: all of this user's measuring waits at one gate.
test: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n 2 -q $(CORE:%=tests/%) $(CORE:%=--cov=kernelevolve/%) --cov-report=term:skip-covered
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu and not alone and not thorough" $(CORE:%=--ignore=tests/%) $(if $(COVERAGE),--cov --cov-append --cov-report=term:skip-covered)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and alone and not thorough"

# Many cases of one kind, such as small operators, families of operations, kernels that are honest or cheat; and whole runs of a minute.
test-thorough: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "thorough and not gpu and not alone"
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "thorough and not gpu and alone"

lint: $(DEV_STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV_STAMP)
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info

# install(EXTRAS): the virtual environment, with this package in it
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, $(PYTHON) is older: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments: sudo apt install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (the first time this takes a few minutes)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e '.$(1)'
endef

$(STAMP): pyproject.toml setup.py constraints.txt
	$(call install,)
	@touch $@

$(DEV_STAMP): pyproject.toml setup.py constraints.txt
	$(call install,[dev])
	@touch $@ $(STAMP)
