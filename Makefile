# Two targets matter: `make demo` runs the whole way on a fresh machine, `make test` passes the tests.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
OUT    ?= build/demo
# TensorFlow's start-up notes are not what a user of these targets came to read.
export TF_CPP_MIN_LOG_LEVEL ?= 2

C_SOURCES = $(shell git ls-files '*.c' '*.cc' '*.h')

.PHONY: demo test lint format types c-test py-test clean

demo: $(VENV)/.demo
	scripts/install_tools.sh arm-none-eabi-gcc qemu-system-arm
	$(BIN)/nested-keras demo --out $(OUT)

test: lint types c-test py-test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(C_SOURCES)
	$(BIN)/lint-imports

types: $(VENV)/.dev
	$(BIN)/mypy

c-test: $(VENV)/.dev
	scripts/install_tools.sh gcc g++ cmake ninja arm-none-eabi-gcc
	PATH="$(abspath $(BIN)):$$PATH" cmake --workflow --preset sanitize

py-test: $(VENV)/.dev
	scripts/install_tools.sh gcc g++ cmake ninja arm-none-eabi-gcc qemu-system-arm
	$(BIN)/python -m pytest -n 2 --dist loadfile

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

clean:
	rm -rf build
