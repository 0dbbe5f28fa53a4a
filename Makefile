# Everything runs in .venv, which the first target that needs it creates.
#   make PYTHON=python3.12 setup        another Python (3.11 or newer)
#   make setup SETUP_ARGS="--torch-index https://download.pytorch.org/whl/cpu"
#                                       torch without CUDA: 200 MB instead of gigabytes
#   make setup SETUP_ARGS=--without-scatter

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
SETUP_ARGS ?=
DEMO_ARGS ?=
RUN_NOTEBOOKS ?= true
PEERS := schnetpack==2.1.1 torchmd-net==3.1.0
STAMP := $(VENV)/.set-up
BIN := $(VENV)/bin
# One thread a process: pytest already runs two of them.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test slow gpu lint format notebooks docs benchmarks bench-setup clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt scripts/setup_env.py
	$(PYTHON) scripts/setup_env.py --venv $(VENV) $(SETUP_ARGS)
	@touch $@

setup: $(STAMP) ## Create .venv with everything that the other targets need

demo: $(STAMP) ## Train on the shipped sample, test on four splits, predict, draw
	$(BIN)/molflt demo $(DEMO_ARGS)

test: $(STAMP) ## Run the tests (under 15 minutes on 2 cores)
	$(PYTEST) -n 2 -m "not slow and not compile and not download"

# torch.compile cannot trace the shape checks, so those tests run without addopts.
# Exit code 5 means that there are none.
slow: $(STAMP) ## Run the tests that take longer, and those of torch.compile
	$(PYTEST) -m "slow and not compile" || test $$? -eq 5
	$(PYTEST) -o addopts=--strict-markers -m compile || test $$? -eq 5

gpu: $(STAMP) ## Run the tests that need a GPU; without one they are skipped
	$(PYTEST) -m gpu

lint: $(STAMP) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## Reformat the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(STAMP) ## Run every notebook from top to bottom
	$(PYTEST) -o addopts= -W default --nbmake --nbmake-timeout=1800 notebooks

# Its notebooks are run, which takes minutes; RUN_NOTEBOOKS=false leaves them empty.
docs: $(STAMP) ## Build the documentation into site/ (opens without a server)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[docs]"
	RUN_NOTEBOOKS=$(RUN_NOTEBOOKS) OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "Open site/index.html"

benchmarks: $(STAMP) ## List the scripts behind the numbers in the README
	@echo "Each writes benchmarks/results/*.json; --help says what it does and how long it takes:"
	@grep -l argparse benchmarks/*.py | sed 's|^|  $(BIN)/python |'

# The peers come without their dependencies: see the extra `bench` in pyproject.toml.
bench-setup: $(STAMP) ## Install the peers that benchmarks/accuracy.py compares with
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[bench]"
	$(BIN)/python -m pip install -q --no-deps $(PEERS)
	$(BIN)/python benchmarks/peers.py

clean: ## Remove .venv, caches and build products
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
