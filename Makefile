# make run       a demonstration server on loopback, in ./demo (kept between runs)
# make test      the whole test suite
# make node      ImapFlow for the tests that run it, into .venv-node (npm; Node.js 18 or later)
# make lint      ruff and mypy --strict
# make crash     kill the server 200 times during a load (KILLS=N for another number)
# make faults    each system call of deliveries, IMAP, POP3 and the queue fails, once and for long; and power cuts
#                at every moment (some forty minutes)
# make soak      two hundred clients for ten minutes: memory and descriptors must stay where they were (SECS=N)
# make queue-large start a server on 100 000 queued messages: time, memory, turns of the reactor (some five minutes)
# make queue-life two days of the queue in simulated time, twenty times, among servers of all kinds (some minutes)
# make model     ten random IMAP sessions at a time against a model, for 600 seconds (SECS=N for another time);
#                then the same against a server of two workers
# make fuzz      fuzz all that reads what strangers send, 600 seconds a target (SECS=N; TARGET=imap for one)
# make bench     this server beside Debian's Postfix and Dovecot, which have to be installed; as root
# make bench-smtp SMTP in with as many workers as cores, and relaying out to smtp-sink, the same way
# make bench-imap IMAP over 100 000 messages and with many clients, the same way
# make compare   ENVELOPE and BODYSTRUCTURE of odd messages beside Dovecot's; as root
# make coverage  the test suite with coverage, and its report
# make clean     all that the others have made, but ./demo
#
# Each works on a fresh machine with Python 3.11 or later (Debian: python3, python3-venv).
# PYTHON chooses the interpreter, VENV the environment; ARGS goes to pytest (make test ARGS=tests/smtp)
# or to the benchmark (make bench ARGS="--only ours", which needs no other server and no root).

PYTHON ?= python3
VENV   ?= .venv
ARGS   ?=
KILLS  ?= 200
SECS   ?= 600
TARGET ?=

BIN := $(VENV)/bin
SOURCES := setup.cfg pyproject.toml $(shell find mailserver twisted -name '*.py')
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test node crash soak queue-large queue-life faults fuzz bench bench-smtp bench-imap compare lint coverage coverage-report clean model

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Installed anew when a source changes; the build needs no isolation, so what is there is not fetched again.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade 'setuptools>=69' wheel

$(VENV)/.run: $(SOURCES) | $(VENV)/bin/python
	@rm -rf build  # what setuptools built before may name modules that are gone
	$(INSTALL) --no-build-isolation .
	@touch $@

$(VENV)/.test: $(SOURCES) | $(VENV)/bin/python
	@rm -rf build
	$(INSTALL) --no-build-isolation '.[test]'
	@touch $@

$(VENV)/.dev: setup.cfg | $(VENV)/.test
	$(INSTALL) --no-build-isolation '.[test,dev]'
	@touch $@

$(VENV)/.fuzz: setup.cfg | $(VENV)/.test
	$(INSTALL) --no-build-isolation '.[test,fuzz]'
	@touch $@

run: $(VENV)/.run
	@$(BIN)/mailserver demo demo
	@exec $(BIN)/twistd --nodaemon --pidfile= mailserver --config demo/mailserver.toml

test: $(VENV)/.test
	$(if $(COVERAGE),$(BIN)/python -m coverage erase)
	$(BIN)/python -m $(if $(COVERAGE),coverage run -m )pytest $(ARGS)

node: .venv-node/node_modules/imapflow

.venv-node/node_modules/imapflow:
	npm install --silent --no-fund --no-audit --prefix .venv-node imapflow@1

crash: $(VENV)/.test
	$(BIN)/python -m tests.crash $(KILLS)

faults: $(VENV)/.test
	$(BIN)/python -m tests.faults

soak: $(VENV)/.test
	$(BIN)/python -m tests.soak $(SECS)

queue-large: $(VENV)/.test
	$(BIN)/python -m tests.large_queue

queue-life: $(VENV)/.test
	$(BIN)/python -m tests.queue_life

model: $(VENV)/.test
	$(BIN)/python -m tests.imap.model $(SECS)
	$(BIN)/python -m tests.processes.model $(SECS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz --seconds $(SECS) $(TARGET)

bench: $(VENV)/.test
	$(BIN)/python -m bench $(ARGS)

bench-smtp: $(VENV)/.test
	$(BIN)/python -m bench smtp kinds relay idle --workers $$(nproc) $(ARGS)

bench-imap: $(VENV)/.test
	$(BIN)/python -m bench large mixed many $(ARGS)

compare: $(VENV)/.test
	$(BIN)/python -m bench.compare $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: test coverage-report
coverage: COVERAGE = 1

coverage-report:
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

clean:
	rm -rf $(VENV) .venv-node .fuzz build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
