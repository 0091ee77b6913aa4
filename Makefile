PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: report test lint bench strength mutants wheel alarms rivals schema clean

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

## Hold every defect against every check of its component; write report/strength.md.
strength: $(INSTALLED)
	@OMP_NUM_THREADS=1 $(VENV)/bin/errata strength

## Let mutmut change the reference line by line, and hold what lives on against tests/mutation/equivalent.toml.
mutants: $(INSTALLED)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mutation]'
	@$(VENV)/bin/python tests/mutation/run.py run
	@$(VENV)/bin/python tests/mutation/survivors.py

## Build the wheel, install it into an empty environment elsewhere, and use it there.
wheel: $(INSTALLED)
	@$(VENV)/bin/python tests/installed/try_wheel.py

## Measure the reference beside its peers, one benchmark after the other; results go to benchmarks/results/.
bench: $(INSTALLED)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@for name in attention forward training decoding dates; do $(VENV)/bin/python -m benchmarks.$$name || exit 1; done

## Run the checks on correct implementations by others; results go to benchmarks/results/alarms.md.
alarms: $(INSTALLED)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[alarms]'
	@$(VENV)/bin/python -m benchmarks.alarms

## Hold the same defects against other tools; results go to benchmarks/results/rivals.md.
rivals: $(INSTALLED)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[rivals]'
	@$(VENV)/bin/python -m benchmarks.rivals

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
