# `make demo` and `make test` install what they need first; nothing has to be done before them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-r demo test pytest lint format types docs tox build clean
BIN := .venv/bin
ARGS ?=

help:  ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup:  ## install everything into .venv (and R by apt, where possible); seconds when it is there
	@sh scripts/setup.sh

setup-r:  ## try again to install R, limma and rpy2
	@sh scripts/setup.sh --retry-r

demo: setup  ## the main job on real data: results/ with h5ad, CSV, figures and report.html
	$(BIN)/geneml-bio demo $(ARGS)

test: setup  ## lint, types, docs (warnings are errors), then all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs docs/_build/html
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

pytest: setup  ## the tests alone: make pytest ARGS="-k limma"
	$(BIN)/python -m pytest $(ARGS)

lint: setup  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## mypy
	$(BIN)/mypy

docs: setup  ## the site, in docs/_build/html
	$(BIN)/sphinx-build -q -E -W --keep-going -b html docs docs/_build/html

tox: setup  ## the tests over Python 3.11 to 3.13, without R, and with the lowest dependencies
	@# pyenv's shims show only the versions that are switched on
	if command -v pyenv >/dev/null; then export PYENV_VERSION=$$(pyenv versions --bare | grep '^3\.1[1-3]' | paste -sd:); fi; $(BIN)/tox $(ARGS)

build: setup  ## sdist and wheel in dist/
	$(BIN)/python -m build

clean:  ## everything that make can make again
	rm -rf .venv .tox build dist results docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
