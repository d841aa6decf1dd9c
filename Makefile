# The usual targets. On a fresh Debian machine as root, `make demo` and `make test` install and start what is missing. What they
# start lives in .state, and `make down` stops it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
WORKERS ?= $(shell expr $$(nproc) + 2)
ENGINE = DOCKER_HOST=$$(cat .state/engine/address)
MACHINE := python3-venv docker.io mmdebstrap
TOOLS := docker-registry runsc age skopeo openssl busybox-static postgresql curl orthanc orthanc-dicomweb
SCRIPTS = $(shell git ls-files '*.sh' .ci/run)
# Tests sync their folders to disk tens of thousands of times, and throw them away: they lie in memory where there is room.
ROOMY = [ "$$(df --output=avail -BG /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9)" -ge 8 ] 2>/dev/null
SCRATCH ?= $(shell if $(ROOMY); then echo /dev/shm; else echo /tmp; fi)

export PATH := $(PATH):/usr/sbin:/sbin
# Each of the hundreds of `pht` that a demo and the tests start would compile the whole project again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help dev machine engine registry base demo test bench check lint fmt lock docs clean down

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

dev:  ## the virtual environment .venv: the locked dependencies, and this project as `pht`
	@images/setup.sh venv

machine:  ## the Debian packages that the demo and the tests need
	@images/setup.sh packages $(MACHINE) $(TOOLS)

engine:  ## a Docker engine: the one on this machine, or a private one
	@images/engine.py up

registry:  ## the registry program that `pht registry up` starts
	@images/setup.sh packages docker-registry

base:  ## the base image `python`, as .state/base/python.tar
	@images/python/build.sh

demo:  ## one train through three hospitals (EMBEDDED=1: without a registry process)
	@images/setup.sh packages $(MACHINE) $(if $(EMBEDDED),,docker-registry)
	@$(MAKE) engine base dev
	@$(ENGINE) EMBEDDED=$(EMBEDDED) examples/breast-cancer/demo.sh

test:  ## every test, WORKERS=4 modules at a time (ARGS='-k age' for some)
	@$(MAKE) machine engine base dev
	@$(ENGINE) PYTEST_DEBUG_TEMPROOT=$(SCRATCH) $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

bench:  ## measure, and write docs/performance.md (ARGS='S1 --quick' to try one)
	@$(MAKE) machine engine base dev
	@$(ENGINE) $(BIN)/python -m bench $(ARGS)

check: lint  ## static checks: style, types, import contracts
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lint: dev  ## style of Python and, if shellcheck is installed, of shell scripts
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SCRIPTS); fi

fmt: dev  ## format, and fix what can be fixed automatically
	@$(BIN)/ruff format
	@$(BIN)/ruff check --fix

lock: dev  ## lock the newest dependencies that pyproject.toml allows, with hashes
	@images/lock.sh

docs: dev  ## write the documents that are generated from the code
	@$(BIN)/python docs/generate.py

clean: down  ## remove everything that was built here
	rm -rf .state .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

down:  ## stop what was started here
	@examples/breast-cancer/demo.sh down
	@images/engine.py down
