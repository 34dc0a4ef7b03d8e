# Two targets matter: `make demo` runs the whole way on a fresh machine, `make test` passes the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
LOWEST ?= .venv-lowest
OUT    ?= build/demo
LIMIT  ?= 10
RUNTIME ?= standalone
BOARD  ?= mps2_an500
SECONDS ?= 60
# TensorFlow's start-up notes are not what a user of these targets came to read.
export TF_CPP_MIN_LOG_LEVEL ?= 2

# What the lowest versions must do: train, save and load, export, run.
CORE_TESTS = $(addprefix tests/nested_keras/,$(addprefix nesting/,test_layers.py test_model.py \
	test_trainer.py test_distillation_loss.py test_fidelity.py test_supported.py) callbacks \
	test_saved_files.py export/test_steps.py runtime/test_litert.py runtime/test_reference.py)

C_SOURCES = $(shell git ls-files '*.c' '*.cc' '*.cpp' '*.h')

# In the place of what Bazel would fetch (scripts/bazel/README.md).
BAZEL_SHIMS = $(foreach name,rules_cc rules_java remote_coverage_tools,\
	--override_repository=$(name)=$(CURDIR)/scripts/bazel/$(name))

.PHONY: demo test lint format types notebooks c-test coverage fuzz misra bazel-test py-test test-large test-lowest docs pictures supported dist renode-test firmware flash clean

demo: $(VENV)/.demo
	scripts/install_tools.sh arm-none-eabi-gcc qemu-system-arm
	$(BIN)/nested-keras demo --out "$(OUT)"

# First what has a core to itself, two targets at a time and the longest first; then what shares two
# cores among its tests. Tools and packages are there before, because two installations at once would
# disturb each other.
test: $(VENV)/.dev $(VENV)/.docs $(LOWEST)/.dev
	scripts/install_tools.sh gcc g++ clang cmake cppcheck ninja bazel arm-none-eabi-gcc qemu-system-arm \
		riscv64-unknown-elf-gcc qemu-riscv32
	$(MAKE) -j2 --output-sync=target SECONDS=3 test-lowest fuzz c-test misra bazel-test types docs dist lint
	$(MAKE) -j1 py-test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)
	$(BIN)/clang-tidy --quiet tflm_ops/src/*/*.c -- -std=c11 -Itflm_ops/include
	$(BIN)/clang-tidy --quiet tflm_ops/tflm/*.cc -- -std=c++17 -Itflm_ops/include -Itflm_ops/tflm/abi
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

c-test: $(VENV)/.dev
	scripts/install_tools.sh gcc g++ cmake ninja arm-none-eabi-gcc
	PATH="$(abspath $(BIN)):$$PATH" cmake --workflow --preset sanitize

# Runs each fuzzer of tests/fuzz for SECONDS; HOURS=8 runs them all in turn for so long. What they
# learn and find stays in build/fuzz.
fuzz: $(VENV)/.dev
	scripts/install_tools.sh clang cmake ninja arm-none-eabi-gcc qemu-system-arm
	cmake --workflow --preset fuzz
	$(BIN)/python -m tests.fuzz.run build/fuzz --seconds $(SECONDS) $(if $(HOURS),--hours $(HOURS))

# MISRA C:2012 by cppcheck's addon; tflm_ops/MISRA.md argues the rules that are broken.
misra: $(VENV)/.dev
	scripts/install_tools.sh cppcheck
	$(BIN)/python scripts/misra.py

# Writes docs/coverage.md, the branches of the C runtime that its tests take, and then the lines of
# Python in build/coverage/python.
coverage: $(VENV)/.dev
	scripts/install_tools.sh gcc g++ clang llvm-cov cmake ninja arm-none-eabi-gcc qemu-system-arm
	rm -rf build/coverage/raw
	PATH="$(abspath $(BIN)):$$PATH" cmake --workflow --preset coverage
	$(BIN)/python -m tests.coverage.branches build/coverage
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov=nested_keras \
		--cov-report=term:skip-covered --cov-report=html:build/coverage/python

bazel-test:
	scripts/install_tools.sh bazel
	bazel --batch test //tflm_ops/... //tests/tflm_ops:test_tflm_adapter $(BAZEL_SHIMS) \
		--override_repository=tflite_micro=$(CURDIR)/tflm_ops/tflm/abi --nosandbox_debug --symlink_prefix=/

py-test: $(VENV)/.dev
	scripts/install_tools.sh gcc g++ clang cmake ninja arm-none-eabi-gcc qemu-system-arm \
		riscv64-unknown-elf-gcc qemu-riscv32
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Whole models of keras.applications: nest, train, export and run each; and more random networks.
# Takes an hour; LARGE=ResNet50 takes that model alone.
test-large: $(VENV)/.dev
	scripts/install_tools.sh gcc g++ cmake ninja arm-none-eabi-gcc qemu-system-arm
	$(BIN)/python -m pytest -v -m large $(if $(LARGE),-k "[$(LARGE)]") \
		tests/test_whole_way.py tests/properties

# Old packages warn of what the newest ones under them will drop; any other warning is an error.
test-lowest: $(LOWEST)/.dev
	$(LOWEST)/bin/python -m pytest -W ignore::DeprecationWarning $(CORE_TESTS)

# Builds the documentation site in build/site; each warning is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Draws the pictures of the README from the results in benchmarks/.
pictures: $(VENV)/.demo
	$(BIN)/python -m docs.pictures

# Writes docs/supported.md, the table of Keras layers, from the tables of the code.
supported: $(VENV)/.demo
	$(BIN)/python -m docs.supported

# Builds wheel and sdist in dist/, installs the wheel alone in a new environment and runs a model with it.
dist: $(VENV)/.dev
	scripts/install_tools.sh gcc
	rm -rf dist
	$(BIN)/python -m build
	scripts/check_wheel.sh $(BIN)/python dist/*.whl

# Needs Renode 1.16 or later, which brings renode-test. That takes `python3` from PATH, and there
# robotframework, psutil and pyyaml.
renode-test: $(VENV)/.dev
	"$(BIN)/python" -m tests.renode.prepare build/renode $(if $(MODEL),"$(MODEL)")
	PATH="$$(cd "$(BIN)" && pwd):$$PATH" renode-test --results-dir build/renode/results \
		--variable "CASES:$(CURDIR)/build/renode" tests/renode/nucleo_f767zi.robot

# Builds build/firmware/firmware.elf, which runs MODEL on BOARD at every level: over the first LIMIT
# inputs of DATA, or over one input of zeros. RUNTIME=tflm takes TFLite Micro from TFLM_ROOT, and
# BOARD_DIR is the folder of a board of your own. Neither target needs TensorFlow.
firmware: $(VENV)/.images
	scripts/install_tools.sh arm-none-eabi-gcc cmake ninja
	$(BIN)/nested-keras firmware "$(MODEL)" --runtime $(RUNTIME) \
		$(if $(BOARD_DIR),--board-dir "$(BOARD_DIR)",--board $(BOARD)) \
		$(if $(DATA),--data "$(DATA)" --limit $(LIMIT)) --out build/firmware

# Builds a firmware that runs MODEL over the first LIMIT inputs of DATA, and writes it to the board.
flash: $(VENV)/.images
	scripts/install_tools.sh arm-none-eabi-gcc openocd
	$(BIN)/nested-keras firmware "$(MODEL)" --runtime $(RUNTIME) --board nucleo_f767zi \
		--data "$(DATA)" --limit $(LIMIT) --out build/firmware
	openocd -f board/st_nucleo_f7.cfg -c "program build/firmware/firmware.elf verify reset exit"

# Runs the notebooks and writes their outputs into them, some five minutes.
notebooks: $(VENV)/.dev
	scripts/install_tools.sh gcc arm-none-eabi-gcc qemu-system-arm
	$(BIN)/python scripts/run_notebooks.py

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(C_SOURCES)

$(BIN)/python:
	scripts/install_tools.sh python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --upgrade pip

$(VENV)/.%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[$*]'
	touch $@

$(LOWEST)/.dev: pyproject.toml scripts/lowest_environment.sh
	scripts/install_tools.sh python3-venv
	scripts/lowest_environment.sh $(LOWEST) $(PYTHON)
	touch $@

clean:
	rm -rf build
