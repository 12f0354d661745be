# `make` lists the targets. Each target installs what it needs, once, and again when its dependencies change.

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

##@ Use

.PHONY: run
run: $(VENV) $(PAGE) ## Start the server with a private MongoDB and print what to do next
	@exec $(BIN)/python -m app serve

.PHONY: demo
demo: $(VENV) $(PAGE) ## The same with a simulated bot: open the page and watch
	@exec scripts/demo

##@ Develop

.PHONY: test
test: check $(PAGE) $(NODE_CLIENTS) ## Run all checks and tests
	@scripts/need-chromium
	@scripts/test-beside

.PHONY: test-python
test-python: $(VENV) $(PAGE) $(NODE_CLIENTS) ## Run the other Python tests, with a real MongoDB, Redis, nginx and HAProxy
	@scripts/need-servers
	$(BIN)/python -m pytest --ignore tests/e2e --ignore tests/faults --ignore tests/integration

.PHONY: test-integration
test-integration: $(VENV) $(PAGE) $(NODE_CLIENTS) ## Run tests/integration: the whole server, with real clients
	$(BIN)/python -m pytest tests/integration

.PHONY: test-faults
test-faults: $(VENV) $(PAGE) $(NODE_CLIENTS) ## Run one short round of each fault
	$(BIN)/python -m pytest tests/faults

.PHONY: test-browser
test-browser: $(VENV) $(PAGE) ## Test the page in Chromium (a separate run, see docs/architecture.md)
	@scripts/need-chromium
	$(BIN)/python -m pytest tests/e2e

.PHONY: test-web
test-web: $(WEB) ## Run the page's unit tests
	cd web && npm test --silent

.PHONY: check
check: $(VENV) $(WEB) ## Check formatting, lint and types of Python and TypeScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd web && npm run --silent check

.PHONY: bench
bench: $(VENV) $(PAGE) ## Compare Roomcast with its peers; ONLY='NAME …' for some lines
	$(BIN)/python -m tests.bench $(if $(ONLY),--lines $(ONLY))

.PHONY: bench-page
bench-page: $(VENV) $(PAGE) ## Measure the page in Chromium
	@scripts/need-chromium
	$(BIN)/python -m tests.bench.page

.PHONY: faults
faults: $(VENV) $(PAGE) $(NODE_CLIENTS) ## Run all rounds of all faults (hours); ONLY='NAME …' for some
	$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY))

.PHONY: conformance
conformance: $(VENV) $(NODE_CLIENTS) ## Run the protocol's and the clients' test suites, and long tests; SOCKETIO=DIR is a clone of socketio/socket.io
	@test -n "$(SOCKETIO)" || { echo 'Run: git clone --depth 1 https://github.com/socketio/socket.io DIR (outside this folder), then: make conformance SOCKETIO=DIR' >&2; exit 2; }
	$(BIN)/python tests/conformance/run.py $(SOCKETIO)
	@scripts/need-servers
	$(BIN)/python -m pytest -m long tests/config tests/integration

.PHONY: format
format: $(VENV) ## Format the Python code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: audit
audit: $(VENV) $(WEB) ## Check the dependencies for known vulnerabilities
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt
	cd web && npm audit --omit dev

.PHONY: page
page: $(PAGE) ## Build the page

.PHONY: upgrade
upgrade: ## Upgrade to the newest versions that setup.cfg allows, and update constraints.txt
	rm -rf .venv && $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[embedded,test,check]'
	(sed -n 1p constraints.txt; $(BIN)/pip freeze --exclude-editable) > constraints.new && mv constraints.new constraints.txt
	touch $(VENV)

.PHONY: clean
clean: ## Remove everything built or installed here, except data/
	rm -rf .venv build dist *.egg-info app/static web/dist-client web/node_modules tests/clients/node_modules tests/bench/peers/node_modules
	rm -rf artifacts .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Prerequisites of the targets above

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
