# Everything that the project does, from a fresh clone: `make help`.
.DEFAULT_GOAL := help
.PHONY: help train test test-all test-hydra lint docs notebook tensorboard bench gpu-check torture clean

VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ARGS ?=

# The first Python of a supported version that can make virtual environments; PYTHON=... chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)

help:  ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F '\t' '{printf "make %-12s %s\n", $$1, $$2}'

train: $(INSTALLED)  ## install, and train a small CNN with batch norm on 8x8 digits; ARGS='norm=ln lr=0.5' changes it
	$(BIN)/normexp train $(ARGS)

test: $(INSTALLED)  ## install, and run the tests
	$(BIN)/python -m pytest $(ARGS)

test-all: test  ## run the tests, then the longer ones; a minute or two more
	$(BIN)/python -m pytest -m 'long and not slow' $(ARGS)

test-hydra: $(INSTALLED)  ## run the tests of configs, sweeps and commands with the release candidate of Hydra 1.4
	rm -rf build/hydra
	$(BIN)/python -m pip install --quiet --no-deps --target build/hydra hydra-core==1.4.0rc3 omegaconf==2.4.1rc1 optuna==5.0.0 \
		hydra-joblib-launcher==1.4.0rc3 hydra-optuna-sweeper==1.4.0rc3 hydra-submitit-launcher==1.4.0rc3
	PYTHONPATH=$(CURDIR)/build/hydra $(BIN)/python -m pytest tests/compose tests/config tests/sweeps tests/commands tests/test_api_state.py $(ARGS)

lint: $(INSTALLED)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## build the documentation as a site, in build/site; ARGS=serve shows it while you edit
	test $(INSTALLED)-docs -nt $(INSTALLED) || \
		{ $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs]' && touch $(INSTALLED)-docs; }
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(ARGS),build)
	@echo "The site is in build/site. Search needs a server: make docs ARGS=serve"

notebook: $(INSTALLED)  ## run docs/tutorial.ipynb and renew its outputs
	test $(INSTALLED)-notebook -nt $(INSTALLED) || \
		{ $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,notebook]' && touch $(INSTALLED)-notebook; }
	$(BIN)/python scripts/tutorial_notebook.py

tensorboard: $(INSTALLED)  ## show the runs in TensorBoard, on this machine only
	$(BIN)/normexp tensorboard $(ARGS)

bench: $(INSTALLED)  ## measure the speed against bare loops and Lightning, and the cost of probes; ARGS='--json FOLDER' keeps the numbers
	test $(INSTALLED)-bench -nt $(INSTALLED) || \
		{ $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]' && touch $(INSTALLED)-bench; } || \
		echo "Lightning could not be installed; what is compared with it is left out." >&2
	for what in loop evaluation start memory data job probes; do $(BIN)/python scripts/bench/$$what.py $(ARGS) || exit 1; done

gpu-check: $(INSTALLED)  ## check normexp on a GPU and time it there, in 8 minutes; ARGS='--json FILE' keeps the numbers; a dry run without a GPU
	$(BIN)/python scripts/gpu_check.py $(ARGS)

torture: $(INSTALLED)  ## kill runs 200 times, resume them and compare the results; fail each write once; try thousands of odd commands
	$(BIN)/python scripts/torture.py $(ARGS)
	NORMEXP_FUZZ=100 NORMEXP_FUZZ_LINES=2000 NORMEXP_FAULT_STRIDE=1 \
		$(BIN)/python -m pytest -m 'not slow' tests/commands/test_fuzz.py tests/training/test_full_disk.py
	$(BIN)/python -m pytest -m slow

clean:  ## remove the virtual environment and caches; runs stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "normexp needs Python 3.11, 3.12 or 3.13 with its venv module (on Debian: apt install python3-venv)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
