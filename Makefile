# Everything happens in .venv, made here. Stamp files in it remember what is installed, so that a
# second run starts at once. PYTHON picks the interpreter of the first run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Both reach pip and the build environments it starts.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP := $(BIN)/python -m pip install --quiet
EDITABLE := $(PIP) --no-build-isolation --editable
TABLES := $(filter lossless lossy sparse speed fidelity ablation,$(basename $(notdir $(wildcard bench/*.py))))
CORE := CMakeLists.txt $(wildcard csrc/*.cpp csrc/*.hpp)

.PHONY: demo example test bench lint format typecheck asan fuzz clean
.DEFAULT_GOAL := test
# Two pips in one environment would trip over each other.
.NOTPARALLEL:

demo: $(VENV)/.demo $(VENV)/.core
	$(BIN)/taut demo

# With CIFAR-10 at hand: make example DATA=FOLDER
example: $(VENV)/.dev $(VENV)/.core
	$(BIN)/python examples/edge_image_classifier.py --out build/edge --force $(if $(DATA),--data $(DATA))

test: lint typecheck
	$(BIN)/python -m pytest

bench: $(VENV)/.bench $(VENV)/.core
	-$(MAKE) $(VENV)-nncodec/.ready
	for table in $(TABLES); do \
	  NNCODEC_PYTHON=$(VENV)-nncodec/bin/python $(BIN)/python bench/$$table.py || exit 1; \
	done

lint: $(VENV)/.dev $(VENV)/.core
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(VENV)/.dev $(VENV)/.core
	$(BIN)/mypy

# Changes lines one by one, in a copy, and names the changes that no test noticed. COUNT, MUTATIONS
# (which lines: a seed) and ONLY (a part of a file's name) pick others.
COUNT ?= 30
MUTATIONS ?= 1
.PHONY: mutants
mutants: $(VENV)/.dev $(VENV)/.core
	$(BIN)/python tools/mutants.py --count $(COUNT) --seed $(MUTATIONS) --only "$(ONLY)"

# The native core alone, under AddressSanitizer and UndefinedBehaviorSanitizer: no Python involved.
asan: $(VENV)/.build
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/native/run

# Damaged arrays to the decoder, under the same sanitisers. SEED picks others; a failure leaves
# build/asan/fuzz-crash.bin, which fuzz_decode beside it runs again when given as its argument.
SECONDS ?= 60
SEED ?= 1
fuzz: $(VENV)/.build
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/native/run fuzz $(SECONDS) $(SEED)

clean:
	rm -rf $(VENV) $(VENV)-nncodec build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What is needed to build the core, installed once: no build environment per build.
$(VENV)/.build:
	$(PYTHON) -m venv $(VENV)
	$(PIP) "cmake>=3.20" ninja "scikit-build-core>=0.11" "nanobind>=2.4"
	touch $@

# The package (a source tree in use, its core compiled) with the extras of each purpose.
$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/.build
	$(EDITABLE) ".[demo]"
	touch $@ $(VENV)/.core

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.build
	$(EDITABLE) ".[torch,hf,prune,train,eval,report,energy,onnx,gguf,ct,demo,test,dev]"
	touch $@ $(VENV)/.demo $(VENV)/.core

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/.build
	$(EDITABLE) ".[demo,bench]"
	touch $@ $(VENV)/.core

# NNCodec asks for an older numpy: an environment of its own, and the tables do without it where it
# cannot be installed.
$(VENV)-nncodec/.ready:
	$(PYTHON) -m venv $(VENV)-nncodec
	$(VENV)-nncodec/bin/python -m pip install --quiet nncodec
	touch $@

# Only the core, when its sources changed.
$(VENV)/.core: $(CORE) | $(VENV)/.build
	$(EDITABLE) . --no-deps
	touch $@
