# The two commands a newcomer needs are `make up` and `make test`.
PYTHON ?= python3
VENV := .venv
UV := $(VENV)/bin/uv

.PHONY: up test lint bench lock clean

$(VENV)/.synced: requirements-dev.txt pyproject.toml
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.9.*" || true
	@$(UV) pip install --quiet --require-hashes -r requirements-dev.txt
	@$(UV) pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@
