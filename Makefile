PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: demo test lint bench clean
.NOTPARALLEL:

demo: $(VENV)/demo ## find, steer and measure on Gemma 3 270M; ends with the report's path
	$(BIN)/steer-plugin demo

test: $(VENV)/dev ## the tests; Debian's chromium and chromium-driver draw the report in them
	$(BIN)/python -m pytest

lint: $(VENV)/dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/dev ## one table, each row a ratio measured within one run
	$(BIN)/python tests/benchmarks/run.py

clean:
	rm -rf $(VENV) build dist *.egg-info

# torch goes first, alone: nothing that asks for it more loosely may choose another build.
$(VENV)/demo $(VENV)/dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable '.[$(@F)]'
	touch $@
