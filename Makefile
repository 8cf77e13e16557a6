# Tetrad's entry points. Each target does all that it needs: system packages, .venv, configure, build.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo build test model lint install clean

PREFIX ?= /usr/local

help:
	@echo 'make demo     set everything up, build, and chat two turns with the default model'
	@echo 'make test     set everything up, build CPU and CUDA code, run all tests (the unit tests on arm64 too, emulated)'
	@echo 'make build    set up and build the program and its plugins'
	@echo 'make model    make models/default (SmolLM2-135M-Instruct)'
	@echo 'make lint     clang-format and clang-tidy on what changed (make lint ALL=1: on everything)'
	@echo 'make install  install into PREFIX (now $(PREFIX)); DESTDIR is respected'
	@echo 'make clean    remove build/ (.venv and models/ stay)'

build:
	@scripts/setup-system.sh build
	@scripts/setup-venv.sh base $$([ -z "$$(scripts/detect-gpu.sh)" ] || echo cuda-compiler cuda-libs)
	@scripts/build.sh app

model:
	@scripts/setup-system.sh build
	@scripts/setup-venv.sh base
	@.venv/bin/python scripts/make_default_model.py

demo: build model
	@scripts/demo.sh

test:
	@scripts/setup-system.sh build test
	@scripts/setup-venv.sh base cuda-compiler cuda-libs test
	@.venv/bin/python scripts/make_default_model.py
	@scripts/build.sh test
	@scripts/test-arm64.sh
	@.venv/bin/ctest --test-dir build --output-on-failure --no-tests=error

lint:
	@scripts/setup-system.sh build lint
	@scripts/lint.sh $(if $(ALL),all)

install: build
	@.venv/bin/cmake --install build --prefix $(PREFIX)

clean:
	rm -rf build
