# Needs python3 (3.10 or newer) with its venv module, make and git; everything else is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PACS   ?=
DICOM  ?=
ARGS   ?=

# An installation is as good as the pyproject.toml it was made from.
HASH       := $(shell sha256sum pyproject.toml | cut -c1-12)
BASE_STAMP := $(VENV)/.base-$(HASH)
DEV_STAMP  := $(VENV)/.dev-$(HASH)
PIP        := $(BIN)/python -m pip install --quiet --disable-pip-version-check --prefer-binary
# A real Triton server for the tests. Its Python package wants another NumPy than the node, so it comes alone: only its
# server and Python backend are used. There is none for other machines; the tests that need it say so and are skipped.
TRITON_SERVER := if [ "$$(uname -sm)" = "Linux x86_64" ]; then $(PIP) --no-deps nvidia-pytriton==0.7.0; fi

.PHONY: help demo test test-all test-ros bench lint format docs setup setup-dev clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(BASE_STAMP) ## Start a node and an archive, send a phantom, show the result [DICOM=folder] [PACS=orthanc]
	$(BIN)/neuroscan demo $(if $(DICOM),--dicom "$(DICOM)") $(if $(PACS),--pacs "$(PACS)") $(ARGS)

test: $(DEV_STAMP) ## Run the tests that take seconds
	$(BIN)/python -m pytest $(ARGS)

test-all: $(DEV_STAMP) ## Run all tests
	$(BIN)/python -m pytest -m "" $(ARGS)

test-ros: ## Run the tests of the ROS packages, where ROS 2 and ros_ws/install are sourced
	@$(PYTHON) -c 'import rclpy, neuroscan_msgs, neuroscan_ros' 2>/dev/null || { echo "ROS 2 is not sourced: \
	. /opt/ros/DISTRO/setup.sh && cd ros_ws && colcon build && . install/setup.sh" >&2; exit 1; }
	$(PYTHON) -m pytest -m "" ros_ws/src/neuroscan_ros/test tests/bus $(ARGS)

bench: $(DEV_STAMP) ## Measure latency and throughput on this machine
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(DEV_STAMP) ## Check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=ros_ws/src/neuroscan_ros $(BIN)/lint-imports

format: $(DEV_STAMP) ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(BASE_STAMP) ## Write the references of configuration and ROS parameters and the example file anew
	$(BIN)/neuroscan config reference > docs/configuration.md
	$(BIN)/neuroscan config example > config/neuroscan.example.yaml
	PYTHONPATH=ros_ws/src/neuroscan_ros $(BIN)/python -m neuroscan_ros.parameter_reference > docs/ros-parameters.md

setup: $(BASE_STAMP) ## Install what the node needs into .venv
setup-dev: $(DEV_STAMP) ## Install what the tests need too

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "NeuroScan needs Python 3.10 or newer; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo "Python's venv module is incomplete: sudo apt-get install -y python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(BASE_STAMP): | $(BIN)/python
	@echo "Installing NeuroScan into $(VENV) ..."
	@$(PIP) -e .
	@rm -f $(VENV)/.base-* && touch $@

$(DEV_STAMP): | $(BIN)/python
	@echo "Installing NeuroScan with its test tools into $(VENV) ..."
	@$(PIP) -e '.[dev]'
	@$(TRITON_SERVER)
	@rm -f $(VENV)/.base-* $(VENV)/.dev-* && touch $(BASE_STAMP) $@

clean: ## Remove the installation and what was built
	rm -rf $(VENV) build *.egg-info
