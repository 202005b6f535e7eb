# Recipes → datasets → runs → tables. `make table` calls this with a Python that has both programs:
#
#   make -f table.mk -j4 TABLE=manifests/camvid SOURCE=../CamVid OUT=work/camvid THREADS=1
#
# TABLE holds recipes/*.json and table.toml; OUT receives
#
#   data/NAME/    a dataset; beside it NAME.json, the recipe it was built of, and NAME.identity
#   runs/NAME/    a run; beside it NAME.log, and NAME.wanted and NAME.begun: the settings and the dataset it should have, and has
#   table/NAME/   a table: table.md, .csv, .tex, plots and panels; beside it NAME.rows: the runs and options that it should have
#   outdated/     runs whose settings or dataset have changed since; nothing trained is deleted
#
# Only what is missing is made. What is compared is content, never times: a recipe that was touched rebuilds nothing, and one that
# changed makes only those runs anew whose dataset changed with it. Interrupted anywhere, the same command goes on. A run that stands in no
# table is not made. REPORT_ARGS="--intervals --details --panels" says more in the tables that are then written.
TABLE   ?= manifests/camvid
OUT     ?= work/$(notdir $(patsubst %/,%,$(TABLE)))
SOURCE  ?=
PY      ?= python3
THREADS ?=
DEVICE  ?=
JOBS    ?= 1
LINK    ?= symlink
REPORT_ARGS ?=

.DEFAULT_GOAL := table
.PHONY: table table-now table-publish data force
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

include $(OUT)/rules.mk

table: $(TABLES:%=$(OUT)/table/%/table.md)
	@echo 'The tables are in $(OUT)/table'

data: $(DATASETS:%=$(OUT)/data/%.identity)

# A table is as old as the beginning of its report: a run that is finished meanwhile is not in it.
report = touch $(OUT)/table/$*.begun \
	&& $(PY) -m trainer report $(1) --out $(OUT)/table/$* $(SUBSETS) $(REPORT_ARGS) > /dev/null \
	&& touch -r $(OUT)/table/$*.begun $(OUT)/table/$*/table.md && rm $(OUT)/table/$*.begun

# Tables of the runs that are finished, with the settings and the dataset that they should have.
table-now: $(TABLES:%=now-%)
now-%: $(OUT)/table/%.rows
	@runs=$$($(PY) -m trainer.tables.definition finished $(TABLE) $(OUT) $*) || exit 1; \
	if [ -z "$$runs" ]; then echo 'no run of $* is finished'; else $(call report,$$runs); fi

table-publish:
	@$(PY) -m trainer.tables.definition publish $(TABLE) $(OUT)
	@echo 'Manifests, scores and tables are in $(TABLE)'

# A file that is written anew only if it would change.
define move-if-changed
if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef

$(OUT)/rules.mk: force
	@mkdir -p $(OUT)/data $(OUT)/runs
	@$(PY) -m trainer.tables.definition rules $(TABLE) > $@.new || { rm $@.new; exit 1; }
	@$(move-if-changed)

# A changed recipe takes away the dataset that was built of the old one, and no other folder of this name.
$(OUT)/data/%.identity: $(TABLE)/recipes/%.json
	@if [ -e $(OUT)/data/$*.json ] && ! cmp -s $< $(OUT)/data/$*.json; then rm -rf $(OUT)/data/$* $(OUT)/data/$*.partial; fi
	@cp $< $(OUT)/data/$*.json
	@[ -e $(OUT)/data/$*/manifest.json ] || { echo 'building the dataset $*'; \
		$(PY) -m poisongen build $(OUT)/data/$*.json $(if $(SOURCE),--source $(SOURCE)) --out $(OUT)/data/$* \
			--jobs $(JOBS) --link $(LINK) > $(OUT)/data/$*.log 2>&1 || { cat $(OUT)/data/$*.log; exit 1; }; }
	@grep '"identity":' $(OUT)/data/$*/manifest.json > $@.new
	@$(move-if-changed)

$(OUT)/runs/%.wanted: $(OUT)/rules.mk
	@{ printf '%s\n' $(ARGUMENTS.$*); cat $(filter %.identity,$^); } > $@.new
	@$(move-if-changed)

# Begun with other settings or another dataset: put aside. Finished: nothing. Trained: score. Else train, or go on.
$(OUT)/runs/%/metrics.json: $(OUT)/runs/%.wanted
	@if [ -e $(@D) ] && ! cmp -s $< $(@D).begun; then \
		mkdir -p $(OUT)/outdated && mv $(@D) $(OUT)/outdated/$*-$$(date +%Y%m%d-%H%M%S); fi
	@cp $< $(@D).begun
	@if [ -e $@ ]; then touch $@; \
	elif [ -e $(@D)/model.safetensors ]; then echo 'scoring $*'; \
		$(PY) -m trainer eval $(@D) --data $(OUT)/data/$(DATA.$*) >> $(@D).log 2>&1 || { tail -n 20 $(@D).log; exit 1; }; \
		rm -f $(@D)/checkpoint.safetensors; \
	else echo 'training $*: $(@D).log'; \
		machine='$(MACHINE.$*) $(if $(THREADS),--threads $(THREADS)) $(if $(DEVICE),--device $(DEVICE))'; \
		[ ! -e $(@D)/checkpoint.safetensors ] || machine=; \
		$(PY) -m trainer train $(OUT)/data/$(DATA.$*) --out $(@D) $(ARGUMENTS.$*) $$machine >> $(@D).log 2>&1 || { tail -n 20 $(@D).log; exit 1; }; \
	fi

# RUN/DATASET.scored
$(OUT)/runs/%.scored:
	@echo 'scoring $(*D) on $(*F)'
	@$(PY) -m trainer eval $(OUT)/runs/$(*D) --data $(OUT)/data/$(*F) >> $(OUT)/runs/$(*D).log 2>&1 \
		|| { tail -n 20 $(OUT)/runs/$(*D).log; exit 1; }
	@touch $@

$(OUT)/table/%.rows: force
	@mkdir -p $(@D)
	@printf '%s\n' $(ROWS.$*) $(SUBSETS) $(REPORT_ARGS) > $@.new
	@$(move-if-changed)

$(OUT)/table/%/table.md:
	@echo 'writing the table $*'
	@$(call report,$(ROWS.$*:%=$(OUT)/runs/%))
