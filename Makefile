# make demo   set up, train, promote, serve, predict and explain on the default data set
# make test   set up and run all tests, real servers included
# make help   the other targets

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The tests of a file share servers, so one process runs them. tests/conftest.py says how many processes, and the order.
PARALLEL := -n logical --dist loadfile --no-loadscope-reorder
LISTS := pyproject.toml mapper/pyproject.toml constraints.txt requirements.txt

.PHONY: help demo test pictures quick long bombs mutations crowds swaps images images-short sequence spark fuzz soak soak-swaps site install install-dev lock wheels format lint types all clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed ## set up and run every step once: train, promote, serve, predict, explain
	$(BIN)/python scripts/demo.py

test: $(VENV)/.installed-dev ## set up and run every test, those with real servers included
	$(BIN)/python -m pytest $(PARALLEL)

fuzz: $(VENV)/.installed-dev ## every parser for FUZZ_MINUTES (15) in all: build/fuzz
	$(PIP) install -q -c constraints.txt -e ".[fuzz]"
	$(BIN)/python -m tests.fuzz --minutes $${FUZZ_MINUTES:-15}

soak: $(VENV)/.installed-dev ## the servers under load, kills, faults and crowds at once, for SOAK_MINUTES (60): build/soak.md
	$(BIN)/python -m scripts.soak --minutes $${SOAK_MINUTES:-60}

soak-swaps: $(VENV)/.installed-dev ## promotions every 5 s and a kill every minute under 64 clients, for SOAK_MINUTES (10): build/soak-promotions.md
	$(BIN)/python -m scripts.soak.promotions --minutes $${SOAK_MINUTES:-10}

quick: $(VENV)/.installed-dev ## the tests that start no servers
	$(BIN)/python -m pytest $(PARALLEL) -m "not system and not long and not bombs and not crowds and not images and not clusters"

long: $(VENV)/.installed-dev ## the tests that take longest: every command of docs/, the sequence, a registry that falls silent
	$(BIN)/python -m pytest $(PARALLEL) -m long

bombs: $(VENV)/.installed-dev ## every small file that unpacks to much, of which the tests have the short form: a minute
	$(BIN)/python -m pytest -m "bombs or not bombs" tests/proto_model/files/test_bombs.py

mutations: $(VENV)/.installed-dev ## a thousand bundles with something changed, of which the tests have the short form: two minutes
	MUTATIONS=1000 $(BIN)/python -m pytest tests/proto_model/model/test_mutations.py

swaps: $(VENV)/.installed-dev ## a hundred promotions under load, with one worker and with two: five minutes
	N_SWAPS=100 $(BIN)/python -m pytest -m "long or not long" -k promotions tests/system/test_follow.py

crowds: $(VENV)/.installed-dev ## sixty promotions at once, and kills before every write of one: a minute or two
	$(BIN)/python -m pytest -m "crowds or not crowds" -k "at_once or killed" tests/proto_model/registry/promotion/test_moves.py

images: $(VENV)/.installed-dev ## OCI images, built, unpacked and run; needs root, mmdebstrap, skopeo, umoci and runc
	$(BIN)/python -m pytest -m images -rs

images-short: $(VENV)/.installed-dev ## one of them: built, read, unpacked and run; two minutes
	$(BIN)/python -m pytest -m images -rs tests/system/test_image.py -k answers_read_only

sequence: $(VENV)/.installed-dev ## the whole way in fresh environments, with pip: a few minutes
	$(BIN)/python -m pytest -m sequence

spark: $(VENV)/.installed-dev ## the tests of Spark, long forms included; needs Java 17, and installs pyspark into .venv
	$(PIP) install -q -c constraints.txt -e ".[spark]"
	$(BIN)/python -m pytest -m "spark or clusters"

pictures: $(VENV)/.installed-dev ## the pictures of the documents, their dates and the badges: docs/images; needs chromium
	$(BIN)/python -m scripts.pictures --fresh

site: $(VENV)/.installed-dev ## the documentation as a site, strict about links: build/site
	$(BIN)/python -m scripts.documents

install: $(VENV)/.installed ## both packages, editable, in a virtual environment: all that the README needs
install-dev: $(VENV)/.installed-dev ## the same, with the tools of the tests

lock: $(VENV)/.installed-dev ## resolve pyproject.toml anew: uv.lock, constraints.txt and the lists that are derived
	$(BIN)/python scripts/requirements.py
	$(BIN)/uv lock
	{ echo '# Made by `make lock` from uv.lock: the versions that are tested together.'; \
		$(BIN)/uv export --quiet --locked --all-packages --all-extras --all-groups \
		--no-hashes --no-emit-workspace --no-annotate --no-header; } > constraints.txt
	{ echo '# Made by `make lock` from requirements-enable-mlserver.in, which says what it is for.'; \
		$(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 --no-annotate --no-header \
		requirements-enable-mlserver.in; } > requirements-enable-mlserver.txt

wheels: $(VENV)/.installed-dev ## both wheels and source archives, in dist/
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct 2>/dev/null || echo 1577836800) \
		sh -c '$(BIN)/python -m build --outdir dist . && $(BIN)/python -m build --outdir dist mapper'

format: $(VENV)/.installed-dev ## rewrite the code in the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(VENV)/.installed-dev ## ruff, and the layers (import-linter)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev ## mypy, strict
	$(BIN)/mypy

all: lint types test ## linters, types and tests

clean: ## remove the virtual environment and everything that was built; your runs in mlflow.db and mlruns stay
	rm -rf $(VENV) build dist demo mapper/build mapper/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3 ..."; exit 2; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "No virtual environment could be made. On Debian: apt-get install python3-venv"; exit 2; }

$(VENV)/.installed: $(LISTS) | $(BIN)/python
	@echo "Installing both packages, and the versions that constraints.txt pins, into $(VENV). This takes a minute or two."
	$(PIP) install -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the tools of the tests into $(VENV)"
	$(PIP) install -r requirements-dev.txt
	@touch $@
