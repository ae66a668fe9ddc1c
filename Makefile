PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
NDIF ?= .venv-ndif
NDIF_PIP := $(NDIF)/bin/python -m pip install --quiet --constraint constraints-ndif.txt
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadgroup
export STEER_NDIF_PYTHON ?= $(abspath $(NDIF))/bin/python
export PYTHON

.PHONY: demo test lint bench calibration programs clean
.NOTPARALLEL:

demo: $(VENV)/demo ## find, steer and measure on Gemma 3 270M; ends with the report's path
	$(BIN)/steer-plugin demo

test: programs $(VENV)/dev $(NDIF)/installed ## on as many processes as there are cores
	$(PYTEST)

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: programs $(VENV)/dev $(NDIF)/installed ## ratios, each measured within one run; some by ROWS=scores,plans
	$(BIN)/python tests/benchmarks/run.py $(ROWS)

calibration: $(VENV)/dev ## the tables of docs/statistics.md: how often the intervals hold
	$(BIN)/python tests/benchmarks/calibration.py

programs: ## a browser and its driver, Redis and PostgreSQL: installed where that is allowed
	@tests/support/system_packages.sh

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
