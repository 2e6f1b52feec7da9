# Everything happens in .venv, made here. Stamp files in it remember what is installed, so that a
# second run starts at once. PYTHON picks the interpreter of the first run.
PYTHON ?= python3

# Every pip takes the versions of the lock. `make test LATEST=1` takes the newest of all but PyTorch
# instead, anew each time, in an environment of its own: it says what a new release breaks.
TORCH_PIN := $(CURDIR)/build/torch-pin.txt
ifdef LATEST
VENV := .venv-latest
PINS := $(TORCH_PIN)
UPGRADE := --upgrade --upgrade-strategy eager
BUILD_DIR := --config-settings=build-dir=build/latest
ANEW := anew
else
VENV := .venv
PINS := $(CURDIR)/constraints.txt
endif
BIN := $(VENV)/bin

# pip reads the first; the build environments that it starts read the second, before pip 25.3 the
# first.
export PIP_CONSTRAINT := $(PINS)
export PIP_BUILD_CONSTRAINT := $(PINS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PIP := $(BIN)/python -m pip install --quiet $(UPGRADE)
EDITABLE := $(PIP) --no-build-isolation $(BUILD_DIR) --editable
TABLES := lossless.measure lossy.measure coding.sparse coding.speed frontier.fidelity frontier.ablation
CORE := CMakeLists.txt $(filter-out csrc/capi/%,$(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*.hpp))

.PHONY: demo example test bench clients docs lint format typecheck asan fuzz capi cross wasm js mutants lock clean anew
.DEFAULT_GOAL := test
# Two pips in one environment would trip over each other.
.NOTPARALLEL:

demo: $(VENV)/.demo $(VENV)/.core
	$(BIN)/taut demo

# With CIFAR-10 at hand: make example DATA=FOLDER
example: $(VENV)/.dev $(VENV)/.core
	$(BIN)/python examples/edge_image_classifier.py --out build/edge --force $(if $(DATA),--data $(DATA))

# JOBS: how many processes the tests run in, one a core unless told; 0 is none but pytest's own.
# SLOW=1: the slow tests too, and every random case; CI runs all of it.
JOBS ?= auto
test: lint typecheck
	$(if $(SLOW),TAUT_SLOW=1) $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile

bench: $(VENV)/.bench $(VENV)/.core
	-$(MAKE) $(VENV)-nncodec/.ready
	for table in $(TABLES); do \
	  NNCODEC_PYTHON=$(VENV)-nncodec/bin/python $(BIN)/python -m bench.$$table || exit 1; \
	done

# Exports in the programs that they are made for: those that are installed, the others are told.
# INSTALL="llama openvino" installs first (all: some 5 GB), each in an environment of its own under
# build/clients, at the versions of bench/clients/pins.toml; CLIENTS asks some alone. Those of phones
# and boards, which the lock leaves out, have tests of their own, run where they are installed.
clients: $(VENV)/.dev $(VENV)/.core
	$(BIN)/python -m bench.clients.check \
	  $(if $(INSTALL),--install $(INSTALL)) $(if $(CLIENTS),--client $(CLIENTS))
	for one in litert executorch coreml; do \
	  test ! -f build/clients/$$one/ready || \
	  build/clients/$$one/bin/python -m pytest -q tests/exporting/test_$$one.py || exit 1; \
	done

# Pages and reference, into build/docs; a warning or a broken link is an error.
docs: $(VENV)/.docs $(VENV)/.core
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

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
mutants: $(VENV)/.dev $(VENV)/.core
	$(BIN)/python tools/mutants.py --count $(COUNT) --seed $(MUTATIONS) --only "$(ONLY)"

# The native core alone, under AddressSanitizer and UndefinedBehaviorSanitizer, and on threads under
# ThreadSanitizer: no Python involved.
asan: $(VENV)/.build
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/native/run

# Damaged arrays to the decoder, and damaged files to libtaut, under the same sanitisers. SEED picks
# others; a failure leaves build/asan/fuzz-crash.bin (fuzz-file-crash.bin), which fuzz_decode
# (fuzz_file) beside it runs again when given as its argument.
SECONDS ?= 60
SEED ?= 1
fuzz: $(VENV)/.build
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tests/native/run fuzz $(SECONDS) $(SEED)

# The decoder in C (docs/c.md): a shared library in build/capi, and one file in build/capi/single.
capi: $(VENV)/.build
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B build/capi -G Ninja \
	  -DTAUT_C_LIBRARY=ON -DBUILD_SHARED_LIBS=ON
	PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build build/capi --target taut
	$(BIN)/python tools/amalgamate.py build/capi/single

# The npm package (docs/web.md) in build/js: libtaut as WebAssembly, compiled only when its sources
# changed. `js` tests it, too, where Node 20 is installed; `make test` does so where it is built.
wasm: $(VENV)/.build
	$(PIP) ziglang
	$(BIN)/python tools/wasm.py build/js

js: $(VENV)/.dev $(VENV)/.core wasm
	$(BIN)/python -m pytest tests/js

# constraints.txt anew: the newest versions that every extra agrees on, for every Python and system.
# KEEP=1 keeps what is in it and only adds or changes what pyproject.toml or constraints.in ask for.
# The extras of phones and boards are left out: litert-torch takes typing-extensions below 4.13 alone,
# which the others' newest do not. They have environments of their own (bench/clients/pins.toml).
LOCKED := dev bench docs gs
lock: $(VENV)/.build
	$(PIP) uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 $(addprefix --extra ,$(LOCKED)) \
	  $(if $(KEEP),,--upgrade) --annotation-style line \
	  --custom-compile-command "make lock  # from pyproject.toml and constraints.in, see there" \
	  --output-file constraints.txt pyproject.toml constraints.in

# libtaut for aarch64, armv7 and riscv64, run under QEMU on every golden file; what has no compiler
# or no qemu-user here is skipped, and told. TARGETS="aarch64" builds some alone.
cross: $(VENV)/.build $(VENV)/.core
	$(BIN)/python tools/cross.py $(TARGETS)

clean:
	rm -rf .venv .venv-latest .venv-nncodec .venv-latest-nncodec build dist
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What is needed to build the core, installed once: no build environment per build.
$(VENV)/.build: constraints.txt $(ANEW) | $(TORCH_PIN)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) cmake ninja nanobind scikit-build-core
	touch $@

# The one pin that is kept where the others are not.
$(TORCH_PIN): constraints.in
	mkdir -p $(@D)
	grep '^torch==' constraints.in > $@

# The package (a source tree in use, its core compiled) with the extras of each purpose.
$(VENV)/.demo: pyproject.toml constraints.txt $(ANEW) | $(VENV)/.build
	$(EDITABLE) ".[demo]"
	touch $@ $(VENV)/.core

$(VENV)/.dev: pyproject.toml constraints.txt $(ANEW) | $(VENV)/.build
	$(EDITABLE) ".[dev]"
	touch $@ $(VENV)/.demo $(VENV)/.core

$(VENV)/.bench: pyproject.toml constraints.txt $(ANEW) | $(VENV)/.build
	$(EDITABLE) ".[demo,bench]"
	touch $@ $(VENV)/.core

$(VENV)/.docs: pyproject.toml constraints.txt $(ANEW) | $(VENV)/.build
	$(EDITABLE) ".[docs]"
	touch $@ $(VENV)/.core

# NNCodec asks for an older numpy than the lock's: an environment of its own, and the tables do
# without it where it cannot be installed.
$(VENV)-nncodec/.ready: | $(TORCH_PIN)
	$(PYTHON) -m venv $(VENV)-nncodec
	PIP_CONSTRAINT=$(TORCH_PIN) PIP_BUILD_CONSTRAINT=$(TORCH_PIN) \
	  $(VENV)-nncodec/bin/python -m pip install --quiet nncodec==2.1.3
	touch $@

# Only the core, when its sources changed.
$(VENV)/.core: $(CORE) | $(VENV)/.build
	$(EDITABLE) . --no-deps
	touch $@
