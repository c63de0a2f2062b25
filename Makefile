# Everything from a fresh clone: `make demo` to try it, `make test` to check it. No root needed.
#
#   HUB=5.5      the JupyterHub series to use (6.1 or 5.5)
#   PORT=9000    where the demo listens
#   PYTHON=…     the Python (3.11 or newer) that makes the virtual environments

HUB ?= 6.1
PORT ?= 8000
PYTHON ?= python3
DEMO_ARGS ?=
PYTEST_ARGS ?=
# Which tests: those that CONTRIBUTING.md calls slow are left to `make test-slow`, those that need a
# cluster to `make test-kubernetes`.
SELECT ?= -m "not slow and not kubernetes"
# Of those on a cluster; empty: also fifty servers at once, which two cores start in ten minutes.
SELECT_KUBERNETES ?= -m "not slow"

VENV := .venv/hub-$(HUB)
BIN := $(VENV)/bin
PROXY_VERSION := 5.3.0
LAB_OLDEST := .venv/lab-4.3
LAB_WHEEL := dist/jhub_tokens_lab-*.whl
LAB_SOURCES := $(wildcard labextension/src/* labextension/style/* labextension/jhub_tokens_lab/*.py)
CONSTRAINTS := requirements/hub-$(HUB).txt
ARTEFACTS := test-artefacts/hub-$(HUB)
# Three at a time on two cores: whole hubs mostly wait. They come first, see tests/conftest.py.
PYTEST_ALL := JHUB_TOKENS_ARTEFACTS=$(ARTEFACTS) $(BIN)/pytest tests -n 3 --dist loadfile \
	--ignore=tests/helm \
	--no-loadscope-reorder
LOCK = $(BIN)/uv pip compile --quiet --upgrade --universal --no-annotate --no-emit-index-url \
	--no-emit-find-links --custom-compile-command 'make lock'

# The repository's own tools first: the demo and the tests find proxy and Node.js on the path.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup setup-dev demo test test-fast test-hub test-lab test-journeys test-slow lint \
	typecheck format test-faults test-kubernetes bench-kubernetes labextension setup-labs \
	setup-journeys bench bench-ledger lock wheel \
	clean helm-check messages images-lock images-check images-test

help: ## Show this help
	@echo "make …"
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r target text; do printf '  %-14s %s\n' "$$target" "$$text"; done
	@echo "Options: HUB=6.1|5.5  PORT=8000  PYTHON=python3  (now: HUB=$(HUB))"

setup: $(VENV)/.demo-ready ## Make the virtual environment that the demo needs

setup-dev: $(VENV)/.dev-ready ## Make the virtual environment that the tests need

demo: $(VENV)/.demo-ready $(VENV)/.demo-lab ## Run the demo hub (PORT=8000) and print its address
	@$(BIN)/jhub-tokens demo --port $(PORT) --state .demo/hub-$(HUB) $(DEMO_ARGS)

test: lint typecheck test-lab setup-journeys ## Run all checks and all tests but the slow ones
	$(PYTEST_ALL) $(SELECT) $(PYTEST_ARGS)

test-fast: $(VENV)/.dev-ready ## Run the tests that need no hub
	$(BIN)/pytest tests -n 2 --dist loadfile --ignore=tests/hub --ignore=tests/journeys \
		--ignore=tests/helm $(SELECT) $(PYTEST_ARGS)

test-hub: $(VENV)/.dev-ready ## Run the tests against a whole JupyterHub
	$(BIN)/pytest tests/hub -n 3 --dist loadfile $(SELECT) $(PYTEST_ARGS)

# The server's part is tested by test-fast as well, on this environment's Python.
test-lab: labextension/node_modules/.ready setup-labs ## Test the JupyterLab extension: its page (Jest), its server's part on the oldest Python
	cd labextension && $(CURDIR)/$(BIN)/npm run --silent check && $(CURDIR)/$(BIN)/npm test --silent
	$(LAB_OLDEST)/bin/python -m pytest -c labextension/pytest.ini --rootdir . tests/lab $(PYTEST_ARGS)

test-journeys: setup-journeys ## Drive the demo in a real browser and by its API
	JHUB_TOKENS_ARTEFACTS=$(ARTEFACTS) $(BIN)/pytest tests/journeys -n 2 --dist loadfile \
		$(SELECT) $(PYTEST_ARGS)

test-slow: setup-journeys ## Run the slow tests
	$(PYTEST_ALL) -m "slow and not kubernetes" $(PYTEST_ARGS)

test-kubernetes: labextension ## Run the tests on a Kubernetes: KUBECONFIG's, or one that is built here
	@ci/kubernetes/enter --service $(BIN)/pytest tests/kubernetes -o faulthandler_timeout=1200 \
		$(SELECT_KUBERNETES) $(PYTEST_ARGS)

helm-check: $(VENV)/.dev-ready ## Check the Helm values, render the chart, offer its objects to a cluster
	$(BIN)/pytest tests/helm -n 2 --dist loadfile $(PYTEST_ARGS)
	@ci/kubernetes/enter $(BIN)/pytest tests/kubernetes/test_chart_objects.py $(PYTEST_ARGS)

messages: $(VENV)/.dev-ready ## Tell which texts are not translated
	@$(BIN)/python ci/messages.py

labextension: $(VENV)/.dev-ready ## Build the JupyterLab extension's wheel into dist/
	@.ci/labextension $(BIN)

setup-journeys: $(VENV)/.chromium-ready $(VENV)/.oidc-ready $(VENV)/.axe-ready setup-labs

# The newest Lab is in the environment itself; the oldest that is supported gets one of its own.
setup-labs: labextension ## Put the extension into the newest and the oldest JupyterLab
	@$(BIN)/uv pip install --quiet --no-deps --reinstall --python $(BIN)/python $(LAB_WHEEL)
	@.ci/lab-oldest $(BIN) $(LAB_OLDEST)

lint: $(VENV)/.dev-ready ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(VENV)/.dev-ready ## Check types
	$(BIN)/mypy

format: $(VENV)/.dev-ready ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

test-faults: $(VENV)/.dev-ready ## Kill, freeze, cut, lie and jump for hours: the long form
	$(BIN)/pytest tests/faults tests/ledger/test_machine.py -n 2 --dist loadfile --thorough \
		-o faulthandler_timeout=3600 $(PYTEST_ARGS)

bench-ledger: $(VENV)/.dev-ready ## Compare the books with raw statements, a peer, and their size
	$(BIN)/python -m benchmarks.ledger

bench-kubernetes: labextension ## Compare with plain KubeSpawner on the same cluster in one run
	@ci/kubernetes/enter $(BIN)/python -m benchmarks.kubernetes

bench: $(VENV)/.chromium-ready setup-labs ## Compare with a plain hub in one run
	$(BIN)/python -m benchmarks

wheel: $(VENV)/.dev-ready ## Build the distribution into dist/
	$(BIN)/python -m build --outdir dist

lock: $(VENV)/.dev-ready ## Resolve requirements/*.txt anew
	@for hub in 6.1 5.5; do \
		$(LOCK) --python-version 3.11 --extra dev --constraints requirements/hub-$$hub.in \
			--output-file requirements/hub-$$hub.txt pyproject.toml || exit 1; \
	done
	@$(LOCK) --python-version 3.8 --output-file requirements/lab-4.3.txt requirements/lab-4.3.in

images-lock: $(VENV)/.dev-ready ## Resolve the locks of the images anew
	$(BIN)/python -m images lock

images-check: $(VENV)/.dev-ready ## Check the images' locks, sizes, versions, changes and Dockerfile
	$(BIN)/python -m images check
	$(BIN)/hadolint --config images/.hadolint.yaml images/Dockerfile

images-test: labextension ## Build an image on a stand-in base and run it
	@image=$$(.ci/images $(BIN)/python) && $(BIN)/pytest tests/images --image "$$image" $(PYTEST_ARGS)

clean: ## Remove everything that was made here
	rm -rf .venv .cache .demo dist test-artefacts .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf labextension/node_modules labextension/lib images/wheels
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up, each step kept until its inputs change ------------------------------------------

$(CONSTRAINTS):
	@echo "There is no $@: HUB=$(HUB) is not supported, write HUB=6.1 or HUB=5.5" >&2; exit 1

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed: set PYTHON= to one (now: $(PYTHON))" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make virtual environments: install its venv module" \
			"(Debian, Ubuntu: apt install python3-venv)" >&2; rm -rf $(VENV); exit 1; }
	@touch $@

$(VENV)/.demo-ready: $(CONSTRAINTS) $(VENV)/.created pyproject.toml Makefile
	@echo "Setting up $(VENV) (JupyterHub $(HUB)); this takes a minute or two, once"
	@$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[demo]'
	@npm_config_cache=$(CURDIR)/.cache/npm $(BIN)/npm install --global --loglevel=error \
		--prefix $(CURDIR)/$(VENV) configurable-http-proxy@$(PROXY_VERSION)
	@touch $@

# The demo shows the JupyterLab extension, too, where it can be built; without it, it works as well, and
# the next one tries again.
$(VENV)/.demo-lab: $(VENV)/.demo-ready labextension/package-lock.json $(LAB_SOURCES)
	@echo "Building the JupyterLab extension; this takes a minute, once"
	@{ $(BIN)/pip install --quiet --constraint $(CONSTRAINTS) build hatchling && \
		.ci/labextension $(BIN) >/dev/null && \
		$(BIN)/pip install --quiet --no-deps --force-reinstall $(LAB_WHEEL) && touch $@; } || \
		echo "The extension could not be built; the demo goes on without it"

$(VENV)/.dev-ready: $(VENV)/.demo-ready
	@echo "Adding the tools for tests to $(VENV)"
	@$(BIN)/pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	@touch $@

labextension/node_modules/.ready: labextension/package-lock.json $(VENV)/.dev-ready
	@cd labextension && npm_config_cache=$(CURDIR)/.cache/npm $(CURDIR)/$(BIN)/npm ci \
		--ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

$(VENV)/.chromium-ready: $(VENV)/.dev-ready .ci/chromium
	@.ci/chromium $(BIN)/python
	@touch $@

$(VENV)/.oidc-ready: $(VENV)/.dev-ready .ci/oidc-provider .ci/npm-kept
	@.ci/oidc-provider $(BIN)/npm >/dev/null
	@touch $@

$(VENV)/.axe-ready: $(VENV)/.dev-ready .ci/axe-core .ci/npm-kept
	@.ci/axe-core $(BIN)/npm >/dev/null
	@touch $@
