PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
NDIF ?= .venv-ndif
NDIF_PIP := $(NDIF)/bin/python -m pip install --quiet --constraint constraints-ndif.txt
export STEER_NDIF_PYTHON ?= $(abspath $(NDIF))/bin/python

.PHONY: demo test lint bench clean
.NOTPARALLEL:

demo: $(VENV)/demo ## find, steer and measure on Gemma 3 270M; ends with the report's path
	$(BIN)/steer-plugin demo

test: $(VENV)/dev $(NDIF)/installed ## needs Debian's chromium, chromium-driver, redis-server, postgresql
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/dev $(NDIF)/installed ## one table, each row a ratio measured within one run
	$(BIN)/python tests/benchmarks/run.py

clean:
	rm -rf $(VENV) $(NDIF) build dist *.egg-info

# torch goes first, alone: nothing that asks for it more loosely may choose another build.
$(VENV)/demo $(VENV)/dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[$(@F)]'
	touch $@

# NDIF asks for Python 3.12 or newer; on 3.11 it works as well.
$(NDIF)/installed: constraints-ndif.txt
	$(PYTHON) -m venv $(NDIF)
	$(NDIF_PIP) torch
	$(NDIF_PIP) --ignore-requires-python 'ndif[api,postgres,ray]==0.1.2'
	touch $@
