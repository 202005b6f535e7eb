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
.PHONY: help setup demo table table-now table-publish test-quick test test-extras test-compat schema freeze lint format density determinism bench bench-trainer train clean

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

# Recipes → datasets → runs → tables; table.mk says how. TABLE, SOURCE, OUT, THREADS, DEVICE and JOBS reach it as they are given.
table: setup ## build, train and score all of TABLE: make table TABLE=manifests/camvid SOURCE=CamVid OUT=work/camvid -j4
	@$(MAKE) --no-print-directory -f table.mk table PY=$(BIN)/python

table-now: setup ## the tables of those runs that are finished
	@$(MAKE) --no-print-directory -f table.mk table-now PY=$(BIN)/python

table-publish: setup ## copy what may be shared of OUT into TABLE: manifests, scores, tables; no picture of the dataset
	@$(MAKE) --no-print-directory -f table.mk table-publish PY=$(BIN)/python

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

train: setup ## train SwiftNet on DATA (default data), into RUN
	$(BIN)/python -m trainer train $(DATA) --out $(RUN) $(TRAIN_ARGS)

clean: ## remove what make made, but no dataset and no run
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
