# One command per wish; `make` alone lists them. GNU make 3.81 (macOS) and later.

CONFIG =
PYTHON =
PYTEST_ARGS =

# The environment's programs come first for the recipe alone: set-up must still find the system's Python.
BIN = .venv/bin
IN_VENV = PATH="$(CURDIR)/$(BIN):$$PATH"
SNAKEMAKE = $(IN_VENV) snakemake --cores all
CONFIG_FILE = $(if $(CONFIG),$(CONFIG),config/config.yaml)
CONFIG_NAME = $$(sed -n 's/^name: *\([A-Za-z0-9_-]*\).*/\1/p' "$(CONFIG_FILE)")
WITH_CONFIG = $(if $(CONFIG),--configfile "$(CONFIG)")

.PHONY: help setup run smoke report reference_figures test pytest lint lint-style lint-types lint-workflow format \
	config-docs reference pages docs compatibility rivals cards bench gpu-check coverage lock config-exists

help: ## list the commands (this list)
	@echo "make COMMAND, where COMMAND is one of"
	@awk -F ':.*## ' '/^[a-z_-]+:.*## / { printf "  %-18s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv and install the lock and esgrad into it, once (PYTHON=... names the Python)
	@PYTHON="$(PYTHON)" bash workflow/setup.sh

run: config-exists setup ## train, tabulate, draw and report: config/config.yaml, or another: CONFIG=config/paper.yaml
	@$(SNAKEMAKE) $(WITH_CONFIG)

smoke: setup ## the whole chain on a small grid, in under a minute
	@$(SNAKEMAKE) --configfile config/smoke.yaml

report: config-exists setup ## write results/<name>/report.html again from finished results (CONFIG=... as for run)
	@$(SNAKEMAKE) $(WITH_CONFIG) --report "results/$(CONFIG_NAME)/report.html"

reference_figures: setup ## redraw every figure of the committed reference results, without training
	@$(SNAKEMAKE) reference_figures

test: lint pytest ## lint, then the tests: all that a change must pass

pytest: setup ## the tests alone, two at a time (PYTEST_ARGS="-k word" picks some)
	@$(IN_VENV) python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

lint: lint-style lint-types lint-workflow ## all three checks below

lint-style: setup ## ruff: style and formatting of the Python files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lint-types: setup ## mypy: types of the package, and every file of a menu held to the menu's protocol
	@mkdir -p .mypy_cache && $(BIN)/python workflow/typed_menus.py > .mypy_cache/typed_menus.py
	@$(BIN)/mypy src .mypy_cache/typed_menus.py

lint-workflow: setup ## snakefmt and snakemake --lint: form of the workflow
	@$(BIN)/snakefmt --check Snakefile workflow
	@$(IN_VENV) python workflow/lint.py

format: setup ## write the form that lint asks for
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/snakefmt Snakefile workflow

config-docs: setup ## write config/README.md from the schema's descriptions
	@$(BIN)/python -m esgrad.suite.config_docs > config/README.md.tmp && mv config/README.md.tmp config/README.md

reference: setup ## keep results/NAME as committed reference results (NAME=default)
	@$(BIN)/python workflow/reference.py $(if $(NAME),$(NAME),default)

pages: setup ## write README.md and RESULTS.md from workflow/pages/ and the numbers in results/reference/
	@$(BIN)/python workflow/pages.py

docs: setup ## write the pages of the API from its docstrings: build/docs/esgrad.html
	@$(BIN)/python workflow/docs.py build/docs

compatibility: ## install from nothing: light with the oldest and newest torch, and environment.yml (WHAT=oldest|newest|whole)
	@PYTHON="$(if $(PYTHON),$(PYTHON),python3)" bash workflow/compatibility.sh $(WHAT)

rivals: ## install the libraries that we are compared with in .venv-rivals, an environment of their own
	@test -d .venv-rivals || $(if $(PYTHON),$(PYTHON),python3) -m venv .venv-rivals
	@.venv-rivals/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@.venv-rivals/bin/python -m pip install --quiet --group rivals --editable ".[suite]"

cards: rivals ## the cards of other libraries' estimators: results/benchmarks/
	@.venv-rivals/bin/python benchmarks/cards.py results/benchmarks/cards.csv

bench: rivals ## speeds beside other libraries and plain torch (BENCH="noise logits growth exact parameters training"): results/benchmarks/
	@OMP_NUM_THREADS=1 .venv-rivals/bin/python benchmarks/bench.py results/benchmarks $(BENCH)
	@.venv-rivals/bin/python benchmarks/picture.py results/benchmarks

gpu-check: setup ## on a machine with a card, in 8 minutes: its tests, kernels and training beside their limits: results/benchmarks/
	@$(BIN)/python -m pytest -q tests/test_gpu.py
	@$(BIN)/python benchmarks/bench.py results/benchmarks gpu --rounds 5
	@$(BIN)/python benchmarks/picture.py results/benchmarks

coverage: setup ## measure how often each interval holds the truth, on planted data, in 4 minutes: results/reference/
	@$(BIN)/python -m esgrad.report.coverage results/reference

lock: ## pin pyproject.toml's dependencies in requirements.lock again (needs uv; LOCK_ARGS=--upgrade)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	@cp requirements.lock requirements.lock.tmp
	@uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-emit-index-url --no-annotate \
		--no-header pyproject.toml --output-file requirements.lock.tmp $(LOCK_ARGS)
	@{ echo "# Made by 'make lock' from pyproject.toml: every package, for Linux and macOS, Python 3.11 and newer."; \
		cat requirements.lock.tmp; } > requirements.lock; rm requirements.lock.tmp

# A wrong CONFIG is told before the set-up takes its minutes.
config-exists:
	@[ -z "$(CONFIG)" ] || [ -f "$(CONFIG)" ] || \
		{ echo "CONFIG=$(CONFIG) is not a file; there are: $$(echo config/*.yaml)" >&2; exit 1; }
