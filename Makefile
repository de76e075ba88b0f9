# One environment for everything: .venv, with the test tools and every extra that runs on a CPU.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test install lint format types docs check benchmarks clean

quickstart: install ## create the environment and run the main job
	$(BIN)/edgeproof build examples/digits.yaml

test: install ## create the environment and run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

install: .venv/.installed

# Pinned by constraints.txt; made again when the pins or the project's own metadata change.
.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "edgeproof needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,docs,timm,tracking]'
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: install
	$(BIN)/basedpyright

docs: install ## write the reference pages anew and build the site into build/site
	$(BIN)/python docs/generate
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

check: lint types test

clean:
	rm -rf .venv build *.egg-info runs
