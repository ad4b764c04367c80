# The same commands as README and CI. Each does its own set-up and skips what is done already.
PYTHON ?= python3
BIN := .venv/bin
# Shows a command's output only when it fails.
QUIETLY := $(BIN)/python tools/quietly.py
# Files are shared out among as many processes as there are cores.
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider -n auto --dist loadfile --no-loadscope-reorder --durations 20
RECIPES := python/vinfer/training/recipes
SHIPPED := python/vinfer/bundles/shipped

.PHONY: demo test test-all test-aarch64 lint sanitize bench models clean help

demo: ## events, timeline page and annotated video from a real clip, in out/demo
	@$(PYTHON) tools/setup.py demo
	@$(BIN)/vinfer run models/bikes.mp4 --output out/demo
	@echo
	@echo "Open out/demo/report.html in a browser."

test: ## everything that can be tested on this machine in about ten minutes
	@$(PYTHON) tools/setup.py test
	@$(MAKE) --no-print-directory lint sanitize
	@$(PYTEST) -m "not slow"

test-all: ## the same and the long suites
	@$(PYTHON) tools/setup.py test
	@$(MAKE) --no-print-directory lint sanitize test-aarch64
	@$(PYTEST)

test-aarch64: ## the native tests compiled for 64-bit Arm, under qemu
	@$(PYTHON) tools/setup.py test
	@$(BIN)/python tools/test_aarch64.py

lint: ## formatting, linting and types, as CI and the pre-commit hooks run them
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
	@$(BIN)/mypy -p vinfer && $(BIN)/mypy tools/*.py && $(BIN)/mypy --explicit-package-bases benchmarks
	@$(BIN)/mypy examples/onnxruntime/*.py
	@$(BIN)/python -m mypy.stubtest vinfer._native

sanitize: ## the native tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@mkdir -p build
	@$(QUIETLY) $(BIN)/cmake -S . -B build/sanitize -G Ninja -DVINFER_TESTS=ON -DVINFER_SANITIZE=ON -DVINFER_CUDA=OFF -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja
	@$(QUIETLY) $(BIN)/cmake --build build/sanitize
	@$(BIN)/ctest --test-dir build/sanitize --output-on-failure --parallel 2

bench: ## measure this machine; writes benchmarks/results/
	@$(PYTHON) tools/setup.py bench
	@$(BIN)/python -m benchmarks.ops --output benchmarks/results/ops.json
	@$(BIN)/python -m benchmarks.pipeline models/bikes.mp4 --output benchmarks/results/pipeline.json
	@$(BIN)/python -m benchmarks.installed_size --output benchmarks/results/installed_size.json
	@$(BIN)/python -m benchmarks.relations --trunks efficientnet_lite0 resnet18 --objects 2 5 10 20 40 --compiled 10 --output benchmarks/results/relations.json
	@$(BIN)/python -m benchmarks.sprite_events relations-synthetic --output benchmarks/results/sprite_events.json

# What was trained just now comes before what is installed.
models: export VINFER_BUNDLES := $(SHIPPED)
models: ## train the shipped synthetic bundles again, about half an hour on two new cores
	@$(PYTHON) tools/setup.py test
	@$(BIN)/vinfer train sprites-detector --output $(SHIPPED)/sprites-detector.vinfer
	@$(BIN)/vinfer train relations --config $(RECIPES)/relations-synthetic-trunk.yaml --output build/relations-synthetic-trunk
	@$(BIN)/vinfer train relations --config $(RECIPES)/relations-synthetic.yaml --output build/relations-synthetic
	@$(BIN)/vinfer export relations-synthetic --model relations --source build/relations-synthetic --detector sprites-detector --output build/relations-synthetic.vinfer
	@$(BIN)/vinfer eval precision build/relations-synthetic.vinfer --config $(RECIPES)/relations-synthetic.yaml --output $(SHIPPED)/relations-synthetic.vinfer

clean: ## remove everything that the other targets made in this folder
	rm -rf .venv build dist out models

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile
