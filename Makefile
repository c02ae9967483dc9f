PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DEMO_TASK ?= dlrm/rmsnorm_residual_silu
DEMO_SECONDS ?= 115
# Empty: show the coverage of core and search alone. Anything else: of all packages, which makes the tests a fifth slower.
# Tests that measure times are never traced.
COVERAGE ?=
CORE := core search

# Tests start hundreds of interpreters. Without bytecode files each of them would compile this package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo check test test-thorough lint format clean

demo: $(STAMP)
	@$(BIN)/kernelevolve run task=$(DEMO_TASK) budget.seconds=$(DEMO_SECONDS) evaluation.cache=off

# What a change should pass before each commit: the linters, and the tests that need no cluster and no reference.
QUICK := core search store tasks report devices/test_cpu.py devices/test_amd.py devices/test_placing.py evaluators/timing evaluators/sandbox evaluators/runtime/test_device_lock.py \
	evaluators/runtime/test_runtimes.py evaluators/correctness/test_compare.py evaluators/correctness/test_mismatch.py \
	islands/test_migration.py islands/test_population.py synthesis/answers test_config.py

check: lint
	@$(BIN)/python -m pytest -n 2 -q --dist worksteal -m "not gpu and not alone and not thorough" $(QUICK:%=tests/%)

# Tests that measure times come last, beside each other only: they wait for one device lock, so that one at a time measures.
test: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n 2 -q $(CORE:%=tests/%) $(CORE:%=--cov=kernelevolve/%) --cov-report=term:skip-covered
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not gpu and not alone and not thorough" $(CORE:%=--ignore=tests/%) $(if $(COVERAGE),--cov --cov-append --cov-report=term:skip-covered)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not gpu and alone and not thorough"

# Many cases of one kind (small operators, families of operations, honest and cheating kernels), whole runs of a minute, and property
# tests with new random examples each time: an example that fails is printed, and belongs into its test.
test-thorough: $(DEV_STAMP)
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not thorough and not gpu and not alone" --hypothesis-profile=explore \
		$$(grep -rl "from hypothesis import" tests --include="test_*.py")
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

# install(EXTRAS): makes the virtual environment and installs this package into it, with these extras.
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
