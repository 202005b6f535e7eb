# Every target works in a fresh clone: it makes .venv first if it is not there.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= data
RUN    ?= runs/$(notdir $(patsubst %/,%,$(DATA)))
DEMO   ?= demo
TRAIN_ARGS ?=
TEST_ARGS  ?=
# Options of the script that a target runs, such as smaller sizes.
SCRIPT_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo table table-now table-publish test-quick test test-extras test-compat schema freeze lint format density determinism bench bench-trainer gpu gpu-wheels train clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14
	@echo
	@echo 'make train DATA=frozen/camvid-nni-10 RUN=runs/camvid TRAIN_ARGS="--epochs 60"'

setup: $(VENV)/installed ## make .venv and install pinned dependencies

# The stamp is written last, so that an installation that was broken off is done again.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"poisongen needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev]'
	@touch $@

# The demo is the ordinary commands, one after the other; run again, it does only what is missing. The two networks are trained
# side by side, each on half of the cores (at most two): threads that wait for each other cost more than they bring.
DEMO_THREADS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n > 3 ? 2 : 1)))

# Options for the two programs: a smaller demo is a faster one.
DEMO_DRAW_ARGS  ?=
DEMO_TRAIN_ARGS ?=

demo: setup ## draw streets, freeze them clean and poisoned, train on both, show the backdoor
	@$(MAKE) --no-print-directory --jobs 2 $(DEMO)/panel.png
	$(BIN)/python -m trainer report $(DEMO)/runs/benign $(DEMO)/runs/nni --out $(DEMO)/report
	@echo
	@echo 'See it: $(DEMO)/panel.png'

$(DEMO)/streets/streets.json: | $(VENV)/installed
	$(BIN)/poisongen draw $(DEMO)/streets $(DEMO_DRAW_ARGS)
$(DEMO)/clean/manifest.json: $(DEMO)/streets/streets.json
	$(BIN)/poisongen cityscapes --source $(DEMO)/streets --attack benign --out $(DEMO)/clean
$(DEMO)/nni/manifest.json: $(DEMO)/streets/streets.json
	$(BIN)/poisongen cityscapes --source $(DEMO)/streets --attack nni --rate 0.1 --out $(DEMO)/nni
$(DEMO)/runs/benign/metrics.json: $(DEMO)/clean/manifest.json $(DEMO)/nni/manifest.json
	$(BIN)/python -m trainer train $(DEMO)/clean --out $(DEMO)/runs/benign --threads $(DEMO_THREADS) $(DEMO_TRAIN_ARGS)
	$(BIN)/python -m trainer eval $(DEMO)/runs/benign --data $(DEMO)/nni
$(DEMO)/runs/nni/metrics.json: $(DEMO)/nni/manifest.json
	$(BIN)/python -m trainer train $(DEMO)/nni --out $(DEMO)/runs/nni --threads $(DEMO_THREADS) $(DEMO_TRAIN_ARGS)
$(DEMO)/panel.png: $(DEMO)/runs/benign/metrics.json $(DEMO)/runs/nni/metrics.json
	$(BIN)/python -m trainer panel $(DEMO)/runs/nni --clean-run $(DEMO)/runs/benign --out $@

# Recipes → datasets → runs → tables: `python -m trainer table --help` says how. -jN and -k of make are those of the runner.
table table-now table-publish: TABLE ?= manifests/camvid
table table-now table-publish: OUT ?= work/$(notdir $(patsubst %/,%,$(TABLE)))
SOURCE  ?=
THREADS ?=
DEVICE  ?=
JOBS    ?= 1
LINK    ?= symlink
REPORT_ARGS ?=
export REPORT_ARGS

# make puts -j and its number into MAKEFLAGS as a word, and -k among the letters of the first word.
table_jobs  = $(patsubst -j%,--jobs=%,$(patsubst -j,-j0,$(filter -j%,$(MAKEFLAGS))))
table_keep  = $(if $(findstring k,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),--keep-going)
table_words = $(TABLE) --out $(OUT) --report-args "$$REPORT_ARGS"

table: setup ## build, train and score all of TABLE: make table TABLE=manifests/camvid SOURCE=CamVid OUT=work/camvid -j4
	@$(BIN)/python -m trainer table $(table_words) $(table_jobs) $(table_keep) $(if $(SOURCE),--source $(SOURCE)) \
		$(if $(THREADS),--threads $(THREADS)) $(if $(DEVICE),--devices $(DEVICE)) --build-jobs $(JOBS) --link $(LINK)

table-now: setup ## the tables of those runs that are finished
	@$(BIN)/python -m trainer table $(table_words) --now

table-publish: setup ## copy what may be shared of OUT into TABLE: manifests, scores, tables; no picture of the dataset
	@$(BIN)/python -m trainer table $(TABLE) --out $(OUT) --publish

# Tests are marked: quick, slow, or neither.
test-quick: setup ## run the laws on a few cases, in a minute
	$(BIN)/python -m pytest -n auto -m quick $(TEST_ARGS)

test: setup ## run all tests but those of test-extras
	$(BIN)/python -m pytest -n auto -m 'not slow' $(TEST_ARGS)

test-extras: setup test-compat ## test what takes minutes or an environment of its own: packages, scripts, old libraries
	$(BIN)/python -m pytest -n auto -m slow $(TEST_ARGS)

# The oldest supported libraries live in an environment of their own; the newest are those of .venv.
OLDEST ?= build/oldest

$(OLDEST)/installed: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-oldest.txt .
	$(OLDEST)/bin/python -m pip uninstall --quiet --yes poisongen
	@touch $@

test-compat: setup $(OLDEST)/installed ## rebuild the frozen datasets with the oldest and the newest libraries
	$(BIN)/python -m tests.scripts.compat $(SCRIPT_ARGS) $(OLDEST)/bin/python $(BIN)/python

schema: setup ## write the JSON Schemas of the dataset format and of scores
	$(BIN)/python -m poisongen.format.schema manifests
	$(BIN)/python -m trainer.scoring.scores manifests

freeze: setup ## write the frozen manifests anew, after a change of the format
	$(BIN)/python -m tests.scripts.compat $(SCRIPT_ARGS) --write $(BIN)/python

lint: setup ## check style, complexity and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict poisongen trainer poisongen_trainer.py
	$(BIN)/python -m tests.scripts.density --check

format: setup ## put the code into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## time a poisoned picture beside the bare codec work
	$(BIN)/python -m tests.scripts.bench $(SCRIPT_ARGS)

determinism: setup ## train four times, once killed and once interrupted, and compare all bits
	$(BIN)/python -m tests.scripts.determinism $(SCRIPT_ARGS)

bench-trainer: setup ## time training pictures from files, cache and memory
	$(BIN)/python -m tests.scripts.bench_trainer $(SCRIPT_ARGS)

density: setup ## print how dense the code is, and the densest functions
	$(BIN)/python -m tests.scripts.density

# On a machine with a GPU there may be no package index, so this needs no setup: any Python that has torch will do. TABLE, SOURCE,
# DEVICE, WHEELS and OUT reach it as they are given; GPU_ARGS has more (--jobs, --only, --scratch).
GPU_SECONDS ?= 480
GPU_ARGS ?=
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
# TABLE and OUT have defaults for `make table`; here they count only where they are given.
given = $(if $(filter-out file,$(origin $(1))),$($(1)))

gpu: ## prove what holds on a GPU, within GPU_SECONDS: same bits, speed, and rows of TABLE
	$(GPU_PYTHON) -m tests.scripts.gpu --seconds $(GPU_SECONDS) --out $(or $(call given,OUT),work/gpu) $(if $(DEVICE),--device $(DEVICE)) \
		$(if $(WHEELS),--wheels $(WHEELS)) $(if $(call given,TABLE),--table $(TABLE)) $(if $(SOURCE),--source $(SOURCE)) $(GPU_ARGS)

# Nothing that these need comes along by itself: what is not named here is on every image that has torch and torchvision, or is
# large (jpeglib for JPEG sources, opencv-python-headless, scipy, matplotlib, h5py): name it in GPU_PACKAGES where an image lacks it.
GPU_PACKAGES ?= annotated-types click jinja2 markupsafe pydantic pydantic-core safetensors tqdm typing-extensions typing-inspection
GPU_PLATFORMS := manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64 manylinux1_x86_64

gpu-wheels: ## collect the packages that a GPU image may lack (Python 3.12, Linux x86-64) in WHEELS, default build/gpu-wheels
	$(GPU_PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 312 \
		--implementation cp $(GPU_PLATFORMS:%=--platform %) --constraint constraints.txt --dest $(or $(WHEELS),build/gpu-wheels) $(GPU_PACKAGES)
	@du -ch --apparent-size $(or $(WHEELS),build/gpu-wheels)/*.whl $$(git ls-files) | tail -n 1 | sed 's/total/with the tracked files; a machine may take no more than 64M/'

train: setup ## train SwiftNet on DATA (default data), into RUN
	$(BIN)/python -m trainer train $(DATA) --out $(RUN) $(TRAIN_ARGS)

clean: ## remove what make made, but no dataset and no run
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
