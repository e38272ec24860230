# CI runs these targets too.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
INSTALLED := $(VENV)/installed

.PHONY: help demo test test-curate test-train coverage lint format bench docs clean

help:            ## Show these targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):[^#]*## /\1\t/' | expand -t 10

demo: $(INSTALLED)    ## Scan, filter, train and colorize real photos in a few minutes
	$(BIN)/python examples/demo.py

test: $(INSTALLED)    ## Lint and run all tests, at the same time
	@$(MAKE) --no-print-directory --jobs=3 lint test-curate test-train

# Two processes, because most tests use one core.
test-curate: $(INSTALLED)
	$(BIN)/python -m pytest --ignore=tests/train --ignore=tests/benchmarks --ignore=train

test-train: $(INSTALLED)
	$(BIN)/python -m pytest tests/train tests/benchmarks train

coverage: $(INSTALLED)    ## Run all tests and print the share of lines that they run; slower than `make test`
	$(BIN)/python -m pytest --cov --cov-report=
	@echo "Line coverage: $$($(BIN)/coverage report --format=total) % (.venv/bin/coverage report lists the lines)"

lint: $(INSTALLED)    ## ruff, mypy strict, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)    ## Format the code and fix lint findings with ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)    ## Write the generated pages of docs/
	$(BIN)/python docs/generate.py

bench: $(INSTALLED)    ## Compare the speed of scan, filter, report and training with other tools
	$(BIN)/python benchmarks/scan.py --rounds 3
	$(BIN)/python benchmarks/startup.py --rounds 3
	$(BIN)/python benchmarks/filter.py
	$(BIN)/python benchmarks/report.py
	$(BIN)/python benchmarks/feed.py
	$(BIN)/python benchmarks/memory.py --rows 2000
	$(BIN)/python benchmarks/feed_memory.py
	$(BIN)/python benchmarks/step.py --channels 24 --size 64 --batch 4 --steps 3

clean:           ## Remove .venv and build
	rm -rf $(VENV) build

# Each line can run again after an interrupted one: a .venv without pip gets pip, and what pip had not finished is installed again
# (pip writes INSTALLER last, so a package without it is incomplete).
# torch comes first and by constraint: a later one would bring gigabytes of CUDA.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) > /dev/null || { echo '$(PYTHON) not found: apt install python3, or name another one: make PYTHON=...' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vividset needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo '$(PYTHON) cannot make virtual environments: apt install $(notdir $(PYTHON))-venv, then run make again' >&2; exit 1; }
	@test -w . && { test ! -e $(VENV) || test -w $(VENV); } || { \
	  echo "no permission to write to $(CURDIR) or its $(VENV): copy the repository to a folder of yours" >&2; exit 1; }
	$(BIN)/python -c '' 2> /dev/null || $(PYTHON) -m venv --clear $(VENV)
	@for package in $(VENV)/lib/python*/site-packages/*.dist-info; do test -e $$package/INSTALLER || rm -rf $$package; done
	@$(BIN)/python -m pip --version > /dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[demo,dev]'
	touch $(INSTALLED)
