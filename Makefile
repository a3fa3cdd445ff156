# Everything that a fresh clone needs, with Python 3.11, make and the package registries: each target sets up what it stands on.

SHELL := /bin/sh
.DELETE_ON_ERROR:

# A shim named python3.11 may exist without a Python behind it: ask it to run.
PYTHON ?= $(shell python3.11 -c 'print("python3.11")' 2>/dev/null || echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-warn-script-location --require-hashes
SUITES := unit property simulation integration fault browser

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.installed-demo ## Broker, simulated API and two pollers, live; SECONDS=30 stops by itself and compares with the truth
	@$(BIN)/poller demo $(if $(SECONDS),--seconds $(SECONDS))

# One process, so that no test runs twice and one summary ends it; coverage counts the unit and property tests only (tests/conftest.py).
.PHONY: test
test: $(VENV)/.installed-dev ## Every suite: unit, property, simulation, integration, fault, browser; the core's branches are all covered
	@$(BIN)/python -m pytest $(wildcard $(SUITES:%=tests/%)) \
		--durations=10 --durations-min=1 --cov=poller.core --cov-branch --cov-fail-under=100 --cov-report=term-missing:skip-covered

.PHONY: sim
sim: $(VENV)/.installed-dev ## Drawn lives of the whole program, hours of virtual time each: SEEDS=100 of them (FIRST=1), or one SEED=17, played twice
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),20) --first $(or $(FIRST),1))

.PHONY: faults
faults: $(VENV)/.installed-dev ## Every fault that Kafka and kills can bring, a quarter of an hour; the table goes into docs/reliability.md
	@$(BIN)/python -m tests.fault --write

.PHONY: sigterm
sigterm: $(VENV)/.installed-dev ## SIGTERM to a busy process, TIMES=20: what its probes answer, when it is gone, what is lost; into docs/reliability.md
	@$(BIN)/python -m tests.fault.sigterm --times $(or $(TIMES),20) --write

.PHONY: e2e
e2e: $(VENV)/.installed-dev ## Procedures of the runbook on real clusters: to another Kafka, and from a lost checkpoint topic; two minutes
	@$(BIN)/python -m pytest tests/e2e

.PHONY: readings
readings: $(VENV)/.installed-dev ## Every reading of the API in every history, 116,640 runs in twenty minutes or more; the table goes into docs/reliability.md
	@$(BIN)/python -m tests.property --write

.PHONY: soak
soak: $(VENV)/.installed-dev ## Everything goes wrong at random for MINUTES=10, and what a replica holds levels off (SEED=7); into docs/reliability.md
	@$(BIN)/python -m tests.soak --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) --write

.PHONY: mutants
mutants: $(VENV)/.installed-dev ## Take each safeguard out in turn: a test must fail (ONLY="part of a name")
	@$(BIN)/python -m tests.mutants $(if $(ONLY),"$(ONLY)")

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## Hostile input, other than the last time, TIMES=50 times as much as in make test
	@FUZZ=$(or $(TIMES),50) $(BIN)/python -m pytest tests/property/test_fuzz_*.py -o faulthandler_timeout=3600

# Apart from the pinned packages: what looks for faults in them must not be held back by them.
AUDIT := $(VENV)/.audit
.PHONY: audit
audit: $(VENV)/.installed-dev ## Known vulnerabilities of the pinned packages; needs a vulnerability service that can be reached
	@test -x $(AUDIT)/bin/pip-audit || { $(BIN)/python -m venv $(AUDIT) && $(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit; }
	@$(BIN)/python -m tests.audit $(AUDIT)/bin/pip-audit

.PHONY: bench
bench: $(VENV)/.installed-dev ## What it costs: CPU, records a second, memory, restore; four minutes, and the tables go into docs/performance.md
	@$(BIN)/python -m tests.bench --write

.PHONY: bench-freshness
bench-freshness: $(VENV)/.installed-dev ## How fresh a budget of calls keeps the data, beside other rules, twenty minutes; into docs/freshness.md (CASE=CI-1, program or month: one, only shown)
	@$(BIN)/python -m tests.bench.freshness $(if $(CASE),--case $(CASE),--write)

.PHONY: bench-scaling
bench-scaling: $(VENV)/.installed-dev ## What a thousand to a million watched customers take, on one replica: memory, time to the first call; three minutes, into docs/scaling.md
	@$(BIN)/python -m tests.bench.scaling $(if $(CUSTOMERS),--customers $(CUSTOMERS),--write)

.PHONY: deploy-check
deploy-check: $(VENV)/.installed-dev ## Everything that checks what is deployed, installing what that takes (WRITE=1: make anew what is generated)
	@$(BIN)/python -m tests.deploy $(if $(WRITE),--write)
	@$(BIN)/python -m pytest --quiet --no-header tests/unit/deploy

.PHONY: image
image: $(VENV)/.installed-dev ## The image, built for real and run (.ci/nightly image installs what that takes); needs root; the figures go into docs/image.md with WRITE=1
	@$(BIN)/python -m tests.image $(if $(WRITE),--write)

# Not in `test`: it builds Kubernetes first, and wants root for network namespaces.
.PHONY: cluster
cluster: $(VENV)/.installed-dev ## The manifests on a real Kubernetes control plane, five minutes; needs root, Go 1.26 (builds it, seven minutes, once), iproute2, openssl
	@$(BIN)/python -m tests.cluster

.PHONY: check
check: $(VENV)/.installed-dev ## Format, lint, types, import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(VENV)/.installed-dev ## Format, and mend what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: lock
lock: $(VENV)/.installed-dev ## Pin anew what pyproject.toml asks for (UPGRADE=1: to the newest)
	@echo "resolving, and collecting the hash of every file that may be installed (about a minute)…"
	$(COMPILE) --only-build-deps --build-deps-for editable --output-file requirements/build.txt pyproject.toml
	$(COMPILE) --output-file requirements/run.txt pyproject.toml
	$(COMPILE) --constraint requirements/run.txt --extra demo --output-file requirements/demo.txt pyproject.toml
	$(COMPILE) --constraint requirements/build.txt --constraint requirements/demo.txt --extra demo --extra dev --output-file requirements/dev.txt pyproject.toml

COMPILE = CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet $(if $(UPGRADE),--upgrade) --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options

.PHONY: clean
clean: ## Remove what was made here: the virtual environment and every cache
	rm -rf $(VENV) build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "This needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true). Name another: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making a virtual environment in $(VENV) with $$($(PYTHON) --version)…"
	@$(PYTHON) -m venv $(VENV)

# `venv` completes an environment whose making was interrupted: pip comes last.
define install
@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
@echo "installing $(words $(shell grep -o '^[a-zA-Z0-9._-]*==' $(1))) pinned packages from $(1) (once; some minutes on a slow line)…"
@$(PIP_INSTALL) -r requirements/build.txt -r $(1)
@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
@touch $@
endef

$(VENV)/.installed-demo: Makefile pyproject.toml requirements/build.txt requirements/demo.txt | $(BIN)/python
	$(call install,requirements/demo.txt)

$(VENV)/.installed-dev: Makefile pyproject.toml requirements/build.txt requirements/dev.txt | $(BIN)/python
	$(call install,requirements/dev.txt)
	@touch $(VENV)/.installed-demo
