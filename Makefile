# Crossfade's everyday commands. `make help` lists them. Needs Python 3.11 to 3.13 with venv; the tests also Node 20+.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; \
	then echo $$p; break; fi; done)
BIN := .venv/bin
SOURCES := proxy comparators tests $(wildcard benchmarks) dashboards deploy
SHELL_SCRIPTS := .ci/run
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --generate-hashes \
	--no-emit-index-url --no-emit-find-links
ONCE ?=
# Test processes: most tests wait for servers, so a few more than cores.
WORKERS ?= 3
QUICK ?=
ONLY ?=
PUBLISH ?=

.DEFAULT_GOAL := help
.PHONY: flips help setup browser prometheus dashboards observe node lint fmt test demo bench verdicts fuzz simulate conformance soak lock clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.installed node browser prometheus ## install everything into .venv and tests/node (does nothing when nothing changed)

.venv/.installed: requirements.lock tests/standins/requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "== installing with $$($(PYTHON) --version)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# ministack pins another botocore than the product's: the stand-ins live in an environment of their own.
	@test -x .venv/standins/bin/python || $(BIN)/python -m venv .venv/standins
	@.venv/standins/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r tests/standins/requirements.lock
	@touch $@

node: ## install the Node clients that the tests use
	@if ! command -v npm >/dev/null; then echo "== Node 20+ with npm is missing: the tests of Node clients will fail"; \
	elif [ ! -e tests/node/node_modules/.installed ] \
		|| [ tests/node/package-lock.json -nt tests/node/node_modules/.installed ]; then \
		echo "== installing the Node clients"; \
		npm ci --prefix tests/node --no-audit --no-fund --ignore-scripts --loglevel=error && touch tests/node/node_modules/.installed; fi

browser: ## install the browser that the console's tests use (Debian's Chromium, where root)
	@if command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "== installing Chromium"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	else echo "== Chromium is missing: the console's tests will fail (Debian: apt-get install chromium)"; fi

prometheus: ## install the Prometheus that the dashboards' tests use (Debian's, where root)
	@if command -v prometheus >/dev/null && command -v promtool >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then echo "== installing Prometheus"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null; \
	else echo "== Prometheus is missing: the dashboards' tests will fail (Debian: apt-get install prometheus)"; fi

lint: .venv/.installed ## ruff, mypy --strict, hadolint
	@echo "== lint"
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile deploy/lambda/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	bash -n $(SHELL_SCRIPTS)

fmt: .venv/.installed ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

test: setup lint ## everything that must hold before a change lands
	@echo "== tests"
	@# Files in their order: by the number of their tests, those with one long test would come last, one worker alone.
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=15

demo: .venv/.installed ## the whole story on embedded stores; stays up until Ctrl-C (ONCE=1: ends by itself)
	ONCE=$(ONCE) $(BIN)/python -m tests.story

bench: .venv/.installed ## what it costs, beside nginx and a handler written by hand (QUICK=1, ONLY=backfill, PUBLISH=1)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(PUBLISH),--publish)

verdicts: .venv/.installed ## count verdicts against the truth, 100,000 comparisons of them, and write docs/verdicts.md
	$(BIN)/python -m tests.verdicts

fuzz: .venv/.installed ## ask DSQL and ministack the same, then the wire and every property anything at all, for MINUTES=10
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10)

simulate: .venv/.installed ## stories of crashes, races and faults on a virtual clock, none told before, for MINUTES=10
	$(BIN)/python -m tests.simulation --minutes $(or $(MINUTES),10)

conformance: .venv/.installed ## other projects' DynamoDB suites, unchanged, on DSQL alone (SUITE=moto, TARGET=live)
	$(BIN)/python -m tests.conformance $(if $(SUITE),--suite $(SUITE)) $(if $(TARGET),--target $(TARGET))

soak: .venv/.installed ## mixed load and faults on both sides for MINUTES=30, sampled and drawn (PUBLISH=1: to docs/soak.svg)
	$(BIN)/python -m tests.faults.soak --minutes $(or $(MINUTES),30) $(if $(PUBLISH),--graph docs/soak.svg)

flips: .venv/.installed ## three proxies, FLIPS=20 flips under load, kill -9 and SIGSTOP on the way (SEED=1)
	FLIPS=$(or $(FLIPS),20) FLIP_SEED=$(or $(SEED),1) $(BIN)/pytest -q -s tests/flips

dashboards: .venv/.installed ## make Grafana's dashboards from the code in dashboards
	$(BIN)/python -m dashboards

observe: .venv/.installed prometheus ## a cutover under load watched by Prometheus: every query and rule (SECONDS=60, STAY=1)
	$(BIN)/python -m tests.observed --seconds $(or $(SECONDS),60) $(if $(STAY),--stay)

lock: .venv/.installed ## pin the newest allowed versions of everything, by hash
	$(COMPILE) --upgrade pyproject.toml --group dev --output-file requirements.lock
	$(COMPILE) --upgrade --group standins --output-file tests/standins/requirements.lock
	$(COMPILE) --upgrade --group conformance --output-file tests/conformance/requirements.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml --extra otel --output-file deploy/requirements.lock
	$(COMPILE) --constraint requirements.lock --group wheel --output-file deploy/requirements-wheel.lock

clean: ## remove what was installed and cached
	rm -rf .venv .cache .crossfade .hypothesis .mypy_cache .pytest_cache .ruff_cache tests/node/node_modules
