# Each target makes .venv first, if it is missing or if the pinned requirements changed. Needs make and Python, nothing else.
PYTHON ?= python3
PY := .venv/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
PYTEST_ARGS ?=
BENCH ?= short
BENCH_ARGS ?=

.PHONY: help demo run test unit integration acceptance test-long check-all bench soak endure format lint types settings screenshots
.NOTPARALLEL:

# The first target: `make` alone shows the main job.
demo: .venv/.installed  ## the main job end to end: no account, no Redis, no network
	$(PY) -m exchanges.simulated.demo

run: .venv/.installed  ## the collector on the live exchange
	$(PY) main.py

# BENCH=long: five runs, ten minutes of the whole market, and the contenders of benchmarks/requirements.txt.
bench: .venv/.installed .venv-bench/.installed$(if $(filter long,$(BENCH)),,-floor)  ## every figure; short in five minutes
	$(PY) -m benchmarks $(if $(filter long,$(BENCH)),--long --save bench,--save bench-short) $(BENCH_ARGS)

soak: .venv/.installed  ## hours of faults in virtual time, every closed candle held against the truth
	$(PY) -m benchmarks.soak

endure: .venv/.installed  ## an hour of faults on the real process: memory, threads, files, and every kline
	$(PY) -m benchmarks.endure

test: lint types  ## lint, types and all tests; fails when no test ran. Several at once: most of them wait for sockets
	$(PY) -m pytest -n 6 --dist worksteal $(PYTEST_ARGS)

unit: .venv/.installed-test  ## the tests of one module each: no sleep, no socket, no server
	$(PY) -m pytest $(PYTEST_ARGS) tests/unit

integration: .venv/.installed-test  ## the tests of packages on real sockets and a real server
	$(PY) -m pytest -n 6 $(PYTEST_ARGS) tests/integration

acceptance: .venv/.installed-test  ## the tests that start main.py and the simulated exchange as processes
	$(PY) -m pytest -n 6 $(PYTEST_ARGS) tests/acceptance

test-long: .venv/.installed-test  ## the tests that take more than a minute each
	$(PY) -m pytest -n 6 -m long $(PYTEST_ARGS)

check-all: lint types  ## lint and types, without the tests

lint: .venv/.installed-test  ## ruff alone: lint and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: .venv/.installed-test  ## mypy alone
	$(PY) -m mypy

format: .venv/.installed-test  ## the code in the project's format, with what ruff can mend
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

settings: .venv/.installed  ## .env.example and the README's tables, made anew of conf/declarations.py and the exchanges
	$(PY) -m app.documents

screenshots: .venv/.installed-test  ## the README's pictures of the page, in five minutes, by Chromium
	mkdir -p docs/images
	PAGE_IMAGES=docs/images $(PY) -m pytest -m long tests/acceptance/test_page.py
	pngquant --force --ext .png --quality 80-98 docs/images/page-*.png  # sudo apt-get install pngquant

help:  ## these lines
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

# A .venv that cannot run (its Python is gone, the folder was moved, an install was cut off) is made anew.
.venv/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or later is needed; $(PYTHON) --version says: $$($(PYTHON) --version 2>&1 | head -n 1)"; \
	  echo "Name another one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { \
	  echo "creating .venv with $$($(PYTHON) --version) ..."; \
	  $(PYTHON) -m venv --clear .venv || { \
	    echo "python -m venv failed; on Debian and Ubuntu: apt install python3-venv"; exit 1; }; }
	@echo "installing requirements.txt into .venv (about half a minute) ..."
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

.venv-bench/.installed-floor: benchmarks/requirements-floor.txt
	@[ -e .venv-bench/bin/python ] || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv-bench/.installed: benchmarks/requirements.txt benchmarks/requirements-floor.txt
	@echo "installing benchmarks/requirements.txt into .venv-bench (about a minute) ..."
	@$(PYTHON) -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	@touch $@

.venv/.installed-test: tests/requirements.txt tests/requirements-ccxt.txt tests/requirements-notebook.txt requirements-client.txt requirements-parquet.txt requirements-alerts.txt .venv/.installed
	@echo "installing tests/requirements.txt into .venv (about half a minute) ..."
	@$(PIP_INSTALL) -r tests/requirements.txt
	@$(PIP_INSTALL) --no-deps -r tests/requirements-ccxt.txt
	@touch $@
