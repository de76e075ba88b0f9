# One environment: .venv. The quickstart puts into it what it needs; everything else the test tools and every extra that
# runs on a CPU as well.
PYTHON ?= python3
BIN := .venv/bin

# A file is dealt to a worker whole, unless its marks say otherwise (tests/distribution.py).
TESTS := $(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

.PHONY: quickstart test test-fast test-walks fuzz test-cpu install lint format types docs check benchmarks clean

# An environment with everything serves the quickstart too.
quickstart: $(or $(wildcard .venv/.installed),.venv/.installed-quickstart) ## create a small environment and run the main job
	$(BIN)/edgeproof build examples/digits.yaml

test: install ## create the environment and run all tests: what CI runs
	$(TESTS) --durations=30 -m "not walk"

test-walks: install ## long walks: every model there is; after changes of the twin or the models
	$(TESTS) --durations=30 -m walk

test-fast: install ## for daily work: without what is slow, and with what the last run made
	EDGEPROOF_TEST_STORE=$${EDGEPROOF_TEST_STORE:-build/tests} $(TESTS) -m "not slow and not walk"

RECIPES ?= 10000
ONNX ?= 10000
JSON ?= 5000
ARCHIVES ?= 2000
PROCESSES ?= 200
KILLS ?= 100
fuzz: install ## mutated files of every kind that is read, kills and flipped bytes, for hours: make fuzz RECIPES=100 ONNX=100 JSON=100 ARCHIVES=100 PROCESSES=1 KILLS=10
	FUZZ_RECIPES=$(RECIPES) FUZZ_ONNX=$(ONNX) FUZZ_JSON=$(JSON) FUZZ_ARCHIVES=$(ARCHIVES) FUZZ_PROCESSES=$(PROCESSES) \
		FUZZ_KILLS=$(KILLS) FUZZ_SECONDS=10 $(BIN)/python -m pytest -q -s tests/fuzz

test-cpu: install ## CPU seconds by test file, into build/cpu_seconds.txt, and the list of slow tests anew
	mkdir -p build
	$(TESTS) -m "not walk" --cpu-seconds=build/cpu_seconds.txt

install: .venv/.installed

# Pinned by constraints.txt; made again when the pins or the project's own metadata change.
.venv/.installed: WANTED := .[dev,docs,timm,tracking]
.venv/.installed-quickstart: WANTED := .
.venv/.installed .venv/.installed-quickstart: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "edgeproof needs Python 3.11 or newer; set PYTHON=..."; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '$(WANTED)'
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
