PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
NDIF ?= .venv-ndif
NDIF_PIP := $(NDIF)/bin/python -m pip install --quiet --constraint constraints-ndif.txt
# What one process compiles the others take, also where the environment forbids it.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --dist loadgroup
export STEER_NDIF_PYTHON ?= $(abspath $(NDIF))/bin/python
export PYTHON

.PHONY: demo docs test lint bench calibration models environments programs clean
ifndef TOGETHER
.NOTPARALLEL:
endif

demo: $(VENV)/demo ## find, steer and measure on Gemma 3 270M; ends with the report's path
	$(BIN)/steer-plugin demo

docs: $(VENV)/dev ## the site, in docs/_build/html: a warning is an error, tutorials run, links are followed
	rm -rf docs/_build
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --fresh-env docs docs/_build/html
	$(BIN)/python -m pytest docs/test_site.py

test: programs environments ## on a process a core
	$(PYTEST)

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: programs environments ## ratios, each measured within one run; some by ROWS=scores,plans
	$(BIN)/python tests/benchmarks/run.py $(ROWS)

calibration: $(VENV)/dev ## the tables of docs/statistics.md: how often the intervals hold
	$(BIN)/python tests/benchmarks/calibration.py

models: $(VENV)/dev ## the table of docs/models.md: what each host has of each architecture
	cd tests && HF_HUB_OFFLINE=1 ../$(BIN)/python -m support.models_table >../docs/models.md.new
	mv docs/models.md.new docs/models.md

environments: ## for tests, and for the NDIF server beside them
	@$(MAKE) --no-print-directory --jobs=2 TOGETHER=yes $(VENV)/dev $(NDIF)/installed

programs: ## a browser and its driver, Redis and PostgreSQL: installed where that is allowed
	@tests/support/system_packages.sh

clean:
	rm -rf $(VENV) $(NDIF) build dist docs/_build docs/reference/generated *.egg-info

# torch goes first, alone: nothing that asks for it more loosely may choose another build.
$(VENV)/torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	touch $@

$(VENV)/demo $(VENV)/dev: pyproject.toml constraints.txt $(VENV)/torch
	$(PIP) --editable '.[$(@F)]'
	touch $@

# NDIF asks for Python 3.12 or newer; on 3.11 it works as well. Its torch is then in pip's cache.
$(NDIF)/installed: constraints-ndif.txt | $(VENV)/torch
	$(PYTHON) -m venv $(NDIF)
	$(NDIF_PIP) torch
	$(NDIF_PIP) --ignore-requires-python 'ndif[api,postgres,ray]==0.1.2'
	touch $@
