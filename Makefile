# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
#
# Needs only Python, make and a package index; `make services` adds the database servers of the tests with apt-get.
# Another Python: make test PYTHON=python3.12. Another Airflow: make test AIRFLOW=3.2.0.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3.11
AIRFLOW ?= 3.3.2
AIRFLOW2 ?= 2.11.2
# The oldest Airflow we promise; the other lower bounds are those of pyproject.toml.
AIRFLOW_LOWEST ?= 2.11.0
# Two test processes, a test file stays in one of them.
PYTEST_ARGS ?= -n 2 --dist loadfile
# Rows of the benchmarks' larger upload, fault schedules and killed uploads of the soak run, port of the stand-in.
ROWS ?= 10000000
SCHEDULES ?= 1000
KILLS ?= 20
PORT ?= 8000

UV := .venv/uv/bin/uv
# The environments of another Python than 3.11 carry its name.
PYTHON_SUFFIX := $(if $(filter python3.11,$(PYTHON)),,-$(notdir $(PYTHON)))
venv = .venv/airflow-$(1)$(PYTHON_SUFFIX)
installed = $(call venv,$(1))/.installed
# An environment that tests can run in.
tested = $(call venv,$(1))/.tested
VENV := $(call venv,$(AIRFLOW))
VENV2 := $(call venv,$(AIRFLOW2))
VENV_LOWEST := .venv/lowest-$(AIRFLOW_LOWEST)$(PYTHON_SUFFIX)
# The pinned versions of an environment, where there are any.
pins = $(wildcard $(CURDIR)/.ci/pins/$(notdir $(1)).txt)

export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
# For the packaging tests, which install the wheel into an environment of its own.
export DEEPCHECKS_TEST_UV := $(abspath $(UV))

.PHONY: help
help: ## Show what there is.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

.PHONY: demo
demo: $(call installed,$(AIRFLOW)) ## Run the example DAGs over several days and account for every row.
	$(VENV)/bin/python -m example_dags.demo

.PHONY: airflow
airflow: $(call installed,$(AIRFLOW)) ## Airflow's web UI with a stand-in Deepchecks and the example DAGs; Ctrl-C ends it.
	$(VENV)/bin/python -m example_dags.demo.web

.PHONY: server
server: $(call installed,$(AIRFLOW)) ## A stand-in Deepchecks on http://127.0.0.1:8000 (PORT=...).
	$(VENV)/bin/python -m airflow_provider_deepchecks.local_server --port $(PORT)

.PHONY: test
test: lint $(call tested,$(AIRFLOW)) ## Lint, types and tests with coverage, on Airflow 3.
	rm -rf .coverage-$(AIRFLOW) && mkdir .coverage-$(AIRFLOW)
	export UV_CONSTRAINT='$(call pins,airflow-$(AIRFLOW))'
	export COVERAGE_FILE=$(CURDIR)/.coverage-$(AIRFLOW)/data
	$(VENV)/bin/coverage run -m pytest $(PYTEST_ARGS)
	$(VENV)/bin/coverage combine --quiet
	$(VENV)/bin/coverage report

.PHONY: test-airflow2
test-airflow2: $(call tested,$(AIRFLOW2)) ## The same tests on Airflow 2.11.
	export UV_CONSTRAINT='$(call pins,airflow-$(AIRFLOW2))'
	$(VENV2)/bin/python -m pytest $(PYTEST_ARGS)

.PHONY: test-lowest
test-lowest: $(VENV_LOWEST)/.tested ## The tests of one process with every dependency at its lower bound.
	export UV_CONSTRAINT='$(call pins,lowest-$(AIRFLOW_LOWEST))'
	$(VENV_LOWEST)/bin/python -m pytest $(PYTEST_ARGS) --ignore tests/kill --ignore tests/celery --ignore tests/triggerer \
		--ignore tests/canary

.PHONY: lint
lint: $(call installed,$(AIRFLOW)) ## Style, format and types.
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

.PHONY: format
format: $(call installed,$(AIRFLOW)) ## Put the sources into shape.
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

.PHONY: soak
soak: $(call tested,$(AIRFLOW)) ## Random examples, fault schedules and killed workers in great number (SCHEDULES=1000 KILLS=20).
	DEEPCHECKS_SCHEDULES=$(SCHEDULES) $(VENV)/bin/python -m pytest tests/records tests/delivery -m hypothesis \
		--hypothesis-profile random --timeout 0
	DEEPCHECKS_KILLS=$(KILLS) $(VENV)/bin/python -m pytest tests/kill

.PHONY: bench
bench: $(call tested,$(AIRFLOW)) ## Speed and memory against the official client; writes bench.json (ROWS=...).
	$(VENV)/bin/python -m tests.bench --rows $(ROWS) --out bench.json

.PHONY: mutate
mutate: $(call tested,$(AIRFLOW)) ## Mutation tests of records/ and delivery/ (SAMPLE=300 at random, ONLY='*.settlement*').
	$(UV) pip install --quiet --python $(VENV)/bin/python 'mutmut>=3.6.0'
	# Random schedules find what nobody thought of; for a mutant a few of them are as good as many.
	export DEEPCHECKS_SCHEDULES=5
	names=($(if $(ONLY),'airflow_provider_deepchecks$(ONLY)'))
	if [ -n '$(SAMPLE)' ]; then
	    # All mutants take many hours. A name that fits none of them makes them and runs none.
	    $(VENV)/bin/mutmut run none > /dev/null 2>&1 || true
	    mapfile -t names < <($(VENV)/bin/mutmut results --all true | grep -o '\S*__mutmut_[0-9]*' | sort \
	        | shuf -n '$(SAMPLE)' --random-source=<(yes))
	fi
	$(VENV)/bin/mutmut run --max-children 2 "$${names[@]}"
	$(VENV)/bin/mutmut results | grep -v 'not checked' || true
	$(VENV)/bin/mutmut results --all true | awk -F ': ' '$$2 != "not checked" { count[$$2]++; all++ } \
	    END { for (what in count) printf "%s: %d of %d, %.1f %%\n", what, count[what], all, 100 * count[what] / all }'

.PHONY: data
data: $(call installed,$(AIRFLOW)) ## Make the flights of example_dags/data anew.
	$(UV) pip install --quiet --python $(VENV)/bin/python -e '.[data]'
	$(VENV)/bin/python example_dags/data/make_flights.py

.PHONY: wheel
wheel: $(UV) ## Build the wheel and the source archive into dist/.
	$(UV) build --quiet --python $(PYTHON) --out-dir dist
	ls dist

.PHONY: pins
pins: $(UV) ## Pin the newest versions of everything, and the oldest of what we depend on.
	pin() {
	    printf '%s\n' "apache-airflow==$$2" "$${@:4}" | $(UV) pip compile --quiet --upgrade --universal --python-version 3.11 \
	        --no-header --no-annotate --overrides .ci/overrides.txt --constraints /dev/stdin --resolution $$3 \
	        --extra dev --output-file .ci/pins/$$1-$$2.txt pyproject.toml
	}
	pin airflow $(AIRFLOW) highest
	pin airflow $(AIRFLOW2) highest
	# Its ObjectStoragePath does not work with a later one, which that Airflow does not know yet.
	pin lowest $(AIRFLOW_LOWEST) lowest-direct 'universal-pathlib<0.3'

# What is made on the way is kept.
.SECONDARY:

.PHONY: services
services: ## Install the servers that the tests start (PostgreSQL, MariaDB, Redis), where they are missing.
	@.ci/services $(PYTHON)

.PHONY: clean
clean: ## Remove everything that make has made.
	rm -rf .venv .demo .coverage* build dist mutants bench.json .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(UV):
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/pip install --quiet uv

# -e: the sources are used in place. Pins keep what was tested; an Airflow without pins gets the newest of everything.
.venv/airflow-%/.installed .venv/lowest-%/.installed: pyproject.toml .ci/overrides.txt $(wildcard .ci/pins/*.txt) | $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) $(@D)
	$(UV) pip install --quiet --python $(@D)/bin/python --overrides .ci/overrides.txt \
	    $(addprefix --constraints ,$(call pins,$(@D:$(PYTHON_SUFFIX)=))) \
	    -e '.[dev]' 'apache-airflow==$(*:$(PYTHON_SUFFIX)=)'
	touch $@

# Servers and compiler are looked for each time, which costs nothing when they are there.
.venv/%/.tested: .venv/%/.installed | services
	$(UV) pip install --quiet --python $(@D)/bin/python 'mysqlclient==2.3.1'
	touch $@
