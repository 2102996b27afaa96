# Greenroom: `make run` to enter the valley, `make test` to prove it, `make help` for the rest.
# The machine's own python3 if it will do, else the newest that will. One that only pretends to be there
# (a version manager's shim) does not.
PYTHON ?= $(shell for v in python3 python3.13 python3.12 python3.11; do \
	$$v -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && \
	command -v $$v && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
EXTRAS ?= local,cloud,dev
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help install run test lint format docs docs-check bench soak clean

help:            ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

$(VENV)/.installed: setup.cfg pyproject.toml tools/preflight.sh tools/llama_flags.sh tools/llama_works.sh
	@sh tools/preflight.sh "$(PYTHON)"
	@test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	@echo "Installing Greenroom into $(VENV). The first time this compiles llama.cpp from source:"
	@echo "about 6 minutes on 2 cores, less on more; afterwards pip keeps the wheel."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@CMAKE_ARGS="$(CMAKE_ARGS) $$(sh tools/llama_flags.sh)" \
		$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -e '.[$(EXTRAS)]' \
		| sed -u -n -E '/^(Collecting|Building|  Building|Successfully|ERROR)/p'
	@$(BIN)/python -c 'import greenroom, llama_cpp' 2>/dev/null || \
		{ echo "The install did not finish; the lines above say why."; exit 1; }
	@sh tools/llama_works.sh $(BIN)/python
	@touch $@

install: $(VENV)/.installed  ## make .venv and install everything

run: install     ## the valley, the house model and the dashboard (ARGS="--npcs 100 --data data/big" to change it)
	@$(BIN)/greenroom demo $(ARGS)

test: install    ## the whole suite
	@$(BIN)/python -m pytest -q -m "not soak and not godot and not chromium" $(ARGS)

lint: install    ## ruff, ruff format, mypy --strict
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install  ## let ruff mend what it can
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .

docs: install    ## write the generated pages again
	@$(BIN)/python tools/docs.py

docs-check: install  ## fail when a generated page is stale, a link is dead or a feature row lacks its command
	@$(BIN)/python tools/docs.py --check

bench: install   ## every benchmark, each beside its peer
	@$(BIN)/greenroom bench $(ARGS)

soak: install    ## the long runs
	@$(BIN)/python -m pytest -q -m soak $(ARGS)

clean:           ## remove what was built (keeps worlds in data/)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
