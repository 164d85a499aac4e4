# make demo   set up, train, promote, serve, predict and explain on the default data set
# make test   set up and run all tests, real servers included
# make help   the other targets

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: help demo test quick install install-dev format lint types all clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(VENV)/.installed ## set up and run the whole way once: train, promote, serve, predict, explain
	$(BIN)/python scripts/demo.py

test: $(VENV)/.installed-dev ## set up and run every test, those with real servers included
	$(BIN)/python -m pytest

quick: $(VENV)/.installed-dev ## the tests that start no servers
	$(BIN)/python -m pytest -m "not system"

install: $(VENV)/.installed ## the virtual environment to train, serve and compare with
install-dev: $(VENV)/.installed-dev ## the same, with the tools of the tests

format: $(VENV)/.installed-dev ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-dev ## ruff
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.installed-dev ## mypy, strict
	$(BIN)/mypy

all: lint types test ## what CI runs

clean: ## the virtual environment and everything that was built; your runs in mlflow.db and mlruns stay
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3 ..."; exit 2; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made. On Debian: apt-get install python3-venv"; exit 2; }

$(VENV)/.installed: requirements.txt mapper/requirements.txt requirements-store.txt constraints.txt | $(BIN)/python
	@echo "Installing what constraints.txt pins into $(VENV); the first time this takes a minute or two"
	$(PIP) -r requirements.txt -r mapper/requirements.txt -r requirements-store.txt -c constraints.txt
	@$(BIN)/python -c 'import pathlib, sysconfig; \
		pathlib.Path(sysconfig.get_path("purelib"), "proto_model_turbo.pth").write_text("$(CURDIR)/src\n$(CURDIR)\n")'
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the tools of the tests into $(VENV)"
	$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@
