# One-liners over `bp`. Each works on a fresh clone: the first one creates .venv.
# ARGS is handed on, as in  make sweep ARGS="replicates=10".
# Nothing here needs more than the GNU make 3.81 of macOS.

PYTHON ?= python3
UV ?= uv
ARGS ?=
PEERS ?= jax torch
SCHEDULE ?= 0 4 * * *
SAMPLE ?= 24
QUICK ?= --quick
STUDIES ?=
BIN := .venv/bin
READY := .venv/.ready
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help sweep map report reproduce baseline architectures schedule unschedule ui studies test lint bench torture bench-peers pins clean

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-13s %s\n", $$1, $$2}' Makefile

sweep: $(READY) ## train 240 runs (24,000 networks), record them in MLflow, print a report
	$(BIN)/bp train experiment=xor_sweep $(ARGS)

map: $(READY) ## train a network for each of 1024 × 1024 pixels, record them as one run, draw them
	$(BIN)/bp map $(ARGS)

report: $(READY) ## print the report of the newest sweep and write its files
	$(BIN)/bp report $(ARGS)

reproduce: $(READY) ## train recorded runs again, a sample by the date, and the studies; compare bits
	$(BIN)/bp reproduce --sample $(SAMPLE) --baselines $(QUICK) $(ARGS)

baseline: $(READY) ## show what differs from the committed baselines, then rewrite them
	$(BIN)/bp reproduce --update --baselines $(ARGS)

architectures: $(READY) ## train the tripwire study as other processors do, under emulation; compare bits
	$(BIN)/python scripts/architectures.py $(ARGS)

schedule: $(READY) ## run `make reproduce` by cron, daily or as SCHEDULE="*/5 * * * *" says
	$(BIN)/python scripts/schedule.py install "$(SCHEDULE)"

unschedule: $(READY) ## take that entry out of the crontab
	$(BIN)/python scripts/schedule.py remove

ui: $(READY) ## serve the MLflow UI, with a link to the comparison of the newest sweep
	$(BIN)/bp ui $(ARGS)

studies: $(READY) ## make the studies (STUDIES="symmetry …") anew and compare; ARGS=--write replaces
	$(BIN)/python -m experiments $(STUDIES) $(ARGS)

test: $(READY) ## run the tests but for those that take long; ARGS="-m heavy -n 0" runs these
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(READY) ## check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY) ## measure speed, beside the peers that are installed; writes benchmarks/results.json
	$(if $(wildcard .venv-peers),.venv-peers/bin,$(BIN))/python benchmarks/run.py $(ARGS)
	$(BIN)/python benchmarks/cluster.py
	$(BIN)/python benchmarks/whole_commands.py

torture: $(READY) ## break sweeps off at random moments, hundreds of times; ARGS="sweep -n 10" for a part
	$(BIN)/python scripts/torture.py $(ARGS)

bench-peers: $(READY) ## install the peers of the benchmark (PEERS="jax torch") into .venv-peers
	$(PYTHON) -m venv --clear .venv-peers
	.venv-peers/bin/pip install --quiet --require-hashes -r requirements.txt
	.venv-peers/bin/pip install --quiet --no-deps --no-build-isolation -e .
	.venv-peers/bin/pip install --quiet $(PEERS)

pins: ## bring requirements.txt in line with pyproject.toml (ARGS=--upgrade: newest versions); needs uv
	$(UV) pip compile pyproject.toml --group dev --universal --python-version 3.11 \
		--fork-strategy fewest --generate-hashes --no-emit-index-url \
		--custom-compile-command "make pins" --quiet --output-file requirements.txt $(ARGS)

clean: ## remove caches and build outputs, never runs or reports
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests experiments -name __pycache__ -prune -exec rm -rf {} +

# Modules are compiled when they are first imported: most of what is installed never is.
# A stamp is the last thing written, so what was interrupted starts over. READY holds the folder's
# name, because a virtual environment is full of absolute paths: one that was moved is made anew.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: .venv/.pinned
endif

.venv/.pinned: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is not. Name one: make PYTHON=python3.12 ..."; exit 1; } >&2
	@echo "Installing into .venv (once, a minute or two)"
	@$(PYTHON) -m venv --clear .venv
	@$(INSTALL) --no-compile --require-hashes -r requirements.txt
	@touch $@

$(READY): .venv/.pinned pyproject.toml
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@echo "$(CURDIR)" > $@
