# The two commands a newcomer needs are `make up` and `make test`.

# The first Python from 3.11 to 3.13; name another one with `make up PYTHON=/path/to/python3.12`.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Taken from the environment's own folder, so that a folder with spaces in its name is no trouble.
RUN := $(BIN)/python -P -m
# Options for `muster up`, for example `make up ARGS="--port 8081"`.
ARGS ?=
LOCK = --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock"
COMPILE = $(BIN)/uv pip compile pyproject.toml $(LOCK)

.PHONY: help up down test test-compose lint format bench campaign campaign-messages chaos lock clean

help:
	@echo "make up       install what is needed and start Muster (ARGS=\"--port 8081\" for another port)"
	@echo "make down     stop it"
	@echo "make test     the whole test suite"
	@echo "make test-compose  the guide to Docker on a real engine, which it makes where there is none and it may"
	@echo "make lint     ruff and mypy"
	@echo "make format   bring the sources into shape"
	@echo "make bench    the benchmarks (ARGS=\"pack events\" for some of them)"
	@echo "make campaign 10,000 runs while a fifth of all calls fails (ARGS=\"1000 1\": how many, and the seed)"
	@echo "make campaign-messages 100,000 messages while their senders and receivers are killed (ARGS=\"3000 1\": how many, and the seed)"
	@echo "make chaos    200 runs on the real Airflow while everything breaks (ARGS=\"40 1\": how many, and the seed)"
	@echo "make lock     write the requirements files afresh from pyproject.toml"
	@echo "make clean    remove the virtual environment and caches; data in .muster stays"

up: $(VENV)/.runtime
	@$(RUN) muster.cli up $(ARGS)

down: $(VENV)/.runtime
	@$(RUN) muster.cli down

test: $(VENV)/.develop $(VENV)/.auth
	@$(RUN) pytest -q $(ARGS)

test-compose: $(VENV)/.develop
	@$(BIN)/python -P tests/docker/campaign.py

lint: $(VENV)/.develop
	@$(RUN) ruff check .
	@$(RUN) ruff format --check --quiet . || { echo "make format brings these files into shape:" >&2; $(RUN) ruff format --check .; }
	@$(RUN) mypy

format: $(VENV)/.develop
	@$(RUN) ruff check --fix-only --quiet .
	@$(RUN) ruff format --quiet .

bench: $(VENV)/.develop $(VENV)/.bench
	@$(BIN)/python tests/perf/run.py $(ARGS)

campaign: $(VENV)/.develop
	@$(BIN)/python tests/campaigns/failing_calls.py $(or $(ARGS),10000 1)

campaign-messages: $(VENV)/.develop
	@$(BIN)/python tests/campaigns/messages.py $(or $(ARGS),100000 1)

chaos: $(VENV)/.develop
	@$(BIN)/python -P tests/campaigns/chaos $(or $(ARGS),200 1)

# `--upgrade` may be added with ARGS; without it what is locked stays unless pyproject.toml rules it out.
lock: $(VENV)/.uv
	@$(COMPILE) --group build --output-file requirements.txt $(ARGS)
	@$(COMPILE) --group dev --constraints requirements.txt --output-file requirements-dev.txt $(ARGS)
	@$(BIN)/uv pip compile $(LOCK) --group bench --no-deps --output-file requirements-bench.txt $(ARGS)
	@$(BIN)/uv pip compile $(LOCK) --group auth --no-deps --output-file requirements-auth.txt $(ARGS)

clean:
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Muster needs Python 3.11, 3.12 or 3.13: install one, or name it with PYTHON=..." >&2; exit 1; }
	@echo "Making the virtual environment with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)." >&2; exit 1; }

# uv installs in seconds what pip needs minutes for. Where it cannot be had, or fails, pip does: uv knows nothing of the
# index and the certificates of a company that pip's own configuration names.
$(VENV)/.uv: | $(BIN)/python
	@$(RUN) pip install --quiet --disable-pip-version-check "uv>=0.9,<1" || echo "uv cannot be had here: using pip"
	@touch $@

define install
	@echo "Installing what $(1) names (the first time takes a minute or two)"
	@if ! { test -x $(BIN)/uv && \
		VIRTUAL_ENV="$$PWD/$(VENV)" $(BIN)/uv pip install --quiet --compile-bytecode --require-hashes -r $(1) && \
		VIRTUAL_ENV="$$PWD/$(VENV)" $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .; }; then \
		! test -x $(BIN)/uv || echo "uv cannot install it here: pip does, which takes some minutes" >&2; \
		$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && \
		$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	@touch $(2)
endef

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/.uv
	$(call install,requirements.txt,$@)

$(VENV)/.develop: requirements-dev.txt pyproject.toml | $(VENV)/.uv
	$(call install,requirements-dev.txt,$@ $(VENV)/.runtime)

# In folders of their own. Of the benchmarks' tools, one is a plugin of every Airflow it is installed beside; the auth
# managers want other versions of what Airflow needs.
$(VENV)/.bench $(VENV)/.auth: $(VENV)/.%: requirements-%.txt | $(VENV)/.uv
	@rm -rf $(VENV)/$*
	@if ! { test -x $(BIN)/uv && \
		VIRTUAL_ENV="$$PWD/$(VENV)" $(BIN)/uv pip install --quiet --no-deps --require-hashes --target $(VENV)/$* -r $<; }; then \
		$(RUN) pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target $(VENV)/$* -r $<; \
	fi
	@touch $@
