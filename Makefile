# Two commands are enough: `make demo` and `make test`. Both set up everything they need in .venv first.

PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13 3.14 3.10,$(shell python$(v) -c 'import sys; print(sys.executable)' 2>/dev/null)))
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
# So that Python finds the package and not, beside a clone of this name, the clone's folder.
IN_PLACE := --config-settings editable_mode=compat

# PyPI's torch for Linux brings gigabytes of CUDA. Where no NVIDIA driver is found, the CPU build is taken from
# PyTorch's own index, if that answers. Set TORCH_INDEX= (empty) to keep to your pip configuration.
TORCH_INDEX ?= $(shell [ "$$(uname)" = Linux ] && ! command -v nvidia-smi >/dev/null && \
	curl -fsIL --max-time 5 https://download.pytorch.org/whl/cpu/torch/ >/dev/null 2>&1 && \
	echo --extra-index-url https://download.pytorch.org/whl/cpu)

SMALL_HOUSE ?= $(wildcard ../shared/scenes/small_house.glb)

.PHONY: help install demo test test-slow check bench clean

help:                ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:[^#]*## /\t/' | expand -t 16

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "Python 3.10 to 3.14 is needed and none was found: install one, or name it: make PYTHON=/path/to/python3.11 demo"; exit 2; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.installed: pyproject.toml poma3d/pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) install -q -c constraints.txt $(TORCH_INDEX) $(IN_PLACE) -e ./poma3d -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -q -c constraints.txt $(TORCH_INDEX) $(IN_PLACE) -e ./poma3d -e '.[dev]'
	@$(PIP) install -q --retries 0 --timeout 15 -c constraints.txt warp-lang \
		|| echo "warp-lang cannot be installed here: the tests of the simulator warp will skip"
	@touch $@

install: $(VENV)/.installed   ## create .venv and install pomagym into it

demo: $(VENV)/.installed      ## run the main job: navigation episodes, with video, recording and results
	$(BIN)/python examples/demo.py --out demo $(if $(SMALL_HOUSE),--scene $(SMALL_HOUSE))

check: $(VENV)/.installed-dev ## lint, types and the import rule of the house
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: $(VENV)/.installed-dev check   ## every check but the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-slow: $(VENV)/.installed-dev    ## the checks that take minutes
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/.installed     ## the throughput table of the README
	$(BIN)/pomagym bench throughput --scene procedural:val:0000 $(if $(SMALL_HOUSE),--scene $(SMALL_HOUSE))

clean:               ## remove the environment and what the demo wrote
	rm -rf $(VENV) demo
