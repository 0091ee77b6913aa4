PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: report test lint bench schema clean

## Prove every erratum, refute every claim, and write report/ with the corrected edition.
report: $(INSTALLED)
	@$(VENV)/bin/errata fix
	@$(VENV)/bin/errata report

## Run the whole suite.
test: $(INSTALLED)
	@$(VENV)/bin/python -m pytest -n auto --dist worksteal

## Format, lint, types and import contracts.
lint: $(INSTALLED)
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

## Measure the reference beside its peers, one benchmark after the other; results go to benchmarks/results/.
bench: $(INSTALLED)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@for name in attention forward training decoding dates; do $(VENV)/bin/python -m benchmarks.$$name || exit 1; done

## Write the JSON Schema of the findings record, after a change of errata/findings.py.
schema: $(INSTALLED)
	@$(VENV)/bin/python -c "import sys; from errata.findings import json_schema; sys.stdout.buffer.write(json_schema())" > errata/findings.schema.json.new
	@mv errata/findings.schema.json.new errata/findings.schema.json

clean:
	@rm -rf $(VENV)

$(INSTALLED): pyproject.toml constraints.txt
	@echo "Installing into $(VENV); the first time takes a few minutes."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@
