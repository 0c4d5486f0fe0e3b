# One word per thing a person does. Every target works on a clean clone: it makes .venv first, with nothing but
# Python's own venv and the pinned dependencies of requirements-dev.lock.
#
#   make demo [DAYS=30] [DATE=2017-05-01] [HOMES=8] [SEED=7] [POLICY=iterated@1] [RECORD=letters/]

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := demo
MAKEFLAGS += --no-print-directory

# The first Python that is new enough.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo $$python; break; }; done)

# An environment cannot be moved, so the stamp belongs to this folder; it is made again when what it holds changes.
INSTALLED := .venv/.installed-$(shell pwd | cksum | cut -d' ' -f1)
RUN := .venv/bin/python -m

.PHONY: demo up down test check bench fix migrate install clean check-format check-lint check-types check-imports check-unit

demo: $(INSTALLED)  ## trade one recorded day of a real street
	@.venv/bin/powershare demo $(if $(DAYS),--days $(DAYS)) $(if $(DATE),--date $(DATE)) \
		$(if $(HOMES),--homes $(HOMES)) $(if $(SEED),--seed $(SEED)) $(if $(POLICY),--policy $(POLICY)) $(if $(RECORD),--record $(RECORD))

up: $(INSTALLED)  ## a network that stays up, under .run/
	@.venv/bin/powershare up $(if $(PORT),--first-port $(PORT)) $(if $(RECORD),--record $(RECORD))

down: $(INSTALLED)  ## stop it; its databases are kept
	@.venv/bin/powershare down

test: $(INSTALLED)  ## every test
	@$(RUN) pytest --numprocesses auto --dist loadfile $(TESTS)

check: $(INSTALLED)  ## format, lint, types, import contracts, unit tests
	@$(MAKE) -j4 --output-sync=target --keep-going check-format check-lint check-types check-imports check-unit

check-format: $(INSTALLED)
	@$(RUN) ruff format --check --quiet . || { echo "run 'make fix'"; exit 1; }

check-lint: $(INSTALLED)
	@$(RUN) ruff check --quiet .

check-types: $(INSTALLED)
	@$(RUN) mypy

check-imports: $(INSTALLED)
	@.venv/bin/lint-imports --no-logo 2>/dev/null | grep -v '^$$' | tail -n 20; exit $${PIPESTATUS[0]}

check-unit: $(INSTALLED)
	@$(RUN) pytest --numprocesses auto tests/unit

bench: $(INSTALLED)  ## how fast, in one table and bench.json
	@$(RUN) bench

fix: $(INSTALLED)  ## format, and mend what lint can mend
	@$(RUN) ruff format . && $(RUN) ruff check --fix .

migrate: $(INSTALLED)  ## bring the database at DATABASE_URL to the newest schema
	@.venv/bin/powershare migrate

install: $(INSTALLED)

clean:  ## throw the environment away
	rm -rf .venv

$(INSTALLED): requirements-dev.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "PowerShare needs Python 3.11 or newer. On Debian or Ubuntu: sudo apt install python3.11 python3.11-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		version=$$($(PYTHON) -c 'import sys; print("python%d.%d" % sys.version_info[:2])'); \
		echo "$$version has no venv. On Debian or Ubuntu: sudo apt install $$version-venv" >&2; exit 1; }
	@echo "Installing pinned dependencies into .venv (once) ..."
	@test -f $@ || rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(RUN) pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements-dev.lock
	@$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
