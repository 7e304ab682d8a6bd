# Every target sets up what it needs by itself. STACK chooses the stack, PYTHON the Python (3.11+) that makes .venv.
STACK ?= dev
PYTHON ?= python3
ARGS ?=
CONFIRM ?=
CLIENTS_OF ?=
PERCENT ?=
FROM ?=
BASE ?=
PAUSE ?=
SWITCH ?=
RELEASE ?= $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || echo unknown)

# Where Python may write no bytecode, as in many containers, each command compiles all that it imports: a third of an `up`.
unexport PYTHONDONTWRITEBYTECODE

PY := .venv/bin/python
TOOL := $(PY) -m tools.stack

.DEFAULT_GOAL := help
.PHONY: help up smoke failover status probe env preview down secrets images rotate rotate-finish rotate-ca pulumi test test-nightly torture check bench rollout rehearsal share migrate faults lock bootstrap

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "STACK=$(STACK) (dev, staging, canary, prod); make -s env prints only KEY=VALUE lines"

bootstrap:
	@$(PYTHON) tools/bootstrap.py

up: bootstrap ## Deploy what is declared; again: change nothing, or heal and finish
	@$(TOOL) up --stack $(STACK)

smoke: bootstrap ## Prove the deployment, a controlled failover included
	@$(TOOL) run --stack $(STACK) -- smoke_tests $(ARGS)

failover: bootstrap ## Hand the master's role over, planned, without losing a write
	@$(TOOL) run --stack $(STACK) -- client.handover $(ARGS)

status: bootstrap ## Show roles, offsets, the Sentinels' views and the quorum
	@$(TOOL) run --stack $(STACK) -- client.status $(ARGS)

probe: bootstrap ## A trickle of writes and reads, as samples in .state/<stack>/samples: ARGS='--for 60s'
	@$(TOOL) run --stack $(STACK) -- prober --out .state/$(STACK)/samples --release "$(RELEASE)" $(ARGS)

env: bootstrap ## Print the application's contract as KEY=VALUE lines
	@$(TOOL) env --stack $(STACK)

preview: bootstrap ## Show what `up` would do
	@$(TOOL) preview --stack $(STACK)

down: bootstrap ## Delete the deployment with its data (other stacks than dev: CONFIRM=<stack>)
	@$(TOOL) down --stack $(STACK) --confirm "$(CONFIRM)"

secrets: bootstrap ## Generate the passwords that the stack lacks, encrypted; a canary's: CLIENTS_OF=prod
	@$(TOOL) secrets --stack $(STACK) --clients-of "$(CLIENTS_OF)"

images: bootstrap ## Build the images of gateway, firewall and smoke suite, on BASE; prints their settings
	@BASE="$(BASE)" $(PY) -m tools.images

rotate: bootstrap ## Replace every password without an outage; then move the clients, then rotate-finish
	@$(TOOL) rotate --stack $(STACK)

rotate-finish: bootstrap ## After a rotation: let the previous passwords in no longer
	@$(TOOL) rotate --finish --stack $(STACK)

rotate-ca: bootstrap ## Replace the CA and its key without an outage; for clients elsewhere: PAUSE=yes, then again
	@$(TOOL) rotate-ca --stack $(STACK) --pause "$(PAUSE)"

pulumi: bootstrap ## Run any pulumi command on the stack: ARGS='stack history'
	@$(TOOL) pulumi --stack $(STACK) -- $(ARGS)

bench: bootstrap ## Measure: time to deploy, to fail over, and more
	@$(PY) -m bench $(ARGS)

test: bootstrap ## Run the tests of the gate, in lanes side by side; ARGS='tests/unit -k tls' for some of them
	@$(if $(ARGS),$(PY) -m pytest -m "not nightly" $(ARGS),$(PY) -m tests.lanes)

test-nightly: bootstrap ## Run the tests that would make the gate too long: docs/testing.md lists them
	@$(PY) -m tests.lanes --nightly

torture: bootstrap ## Random outages of three deployments of processes, judged after each round: SEED=7 MINUTES=60
	@$(PY) -m tests.torture $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

check: bootstrap ## Formatting, lint, types, shell scripts, and that pure modules are pure
	@$(PY) -m ruff format --check --quiet .
	@$(PY) -m ruff check --quiet .
	@$(PY) -m mypy --no-error-summary
	@find . -path ./.venv -prune -o -path ./.state -prune -o -name '*.sh' -print | xargs .venv/bin/shellcheck .ci/run
	@$(PY) -m pytest --quiet --no-header tests/unit/test_pure_modules.py

rollout: bootstrap ## The phased rollout: ARGS=plan, start, advance, status, ... (docs/rollout.md)
	@$(PY) -m rollout $(ARGS)

share: bootstrap ## Send PERCENT of the clients of STACK's gateway to its canary, declared and at run time
	@$(PY) -m tools.share --stack $(STACK) --percent "$(PERCENT)"

rehearsal: bootstrap ## A whole rollout in minutes on stacks of its own, rollbacks included: ARGS=kubernetes, docker or process
	@$(PY) -m rehearsal $(ARGS)

migrate: bootstrap ## Take over an existing Redis: FROM=host:port, then again with SWITCH=yes (docs/migration.md)
	@$(TOOL) run --stack $(STACK) -- tools.migrate --from "$(FROM)" --switch "$(SWITCH)"

faults: bootstrap ## Kill and freeze nodes of a staging stack under load, heal it, judge: ARGS='--out FILE'
	@$(TOOL) run --stack $(STACK) -- tools.faults $(ARGS)

lock: bootstrap ## Renew uv.lock and requirements.lock from pyproject.toml
	@$(PY) -m tools.lock
