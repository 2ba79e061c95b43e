# Every target sets up what it needs (.venv from requirements.lock) and does only what is missing.
PROFILE ?= mini
DATA ?= band
TEST ?= band
SEEDS ?= 1
STORE ?= runs

PYTHON := .venv/bin/python
READY := .venv/.ready
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check
SCALE = --profile $(PROFILE) --data $(DATA) --test $(TEST) --store $(STORE)
TABLES := table1 table2 table3 table4 table5

# $(call run-and-report,TARGETS,REPORTS): the reports are written even when a stage failed; make
# then still fails.
run-and-report = $(PYTHON) -m experiments run $(1) $(SCALE) --seeds $(SEEDS); code=$$?; \
  [ $$code -eq 2 ] || $(PYTHON) -m reports $(2) $(SCALE); exit $$code

# What a GPU machine may have without `.venv`: its own Python, with torch in it.
GPU_PYTHON ?= $(if $(wildcard $(PYTHON)),$(PYTHON),python3)

.PHONY: setup $(TABLES) figure4 started robust noise-rate pretrained tables report bench gpu-day test faults lint lock clean

setup: $(READY)

$(TABLES) figure4: $(READY)
	@$(call run-and-report,$@,$@)

# Labels by our own way beside the paper's: separators, and the classifiers.
started: $(READY)
	@$(call run-and-report,started started-recognition,started started-recognition)

# What else is done against wrong labels, and how much noise each way survives: beyond the paper.
robust noise-rate: $(READY)
	@$(call run-and-report,$@,$@ $@-figure)

# The classifier that `selfrefine refine` starts from, put into the package with its card.
pretrained: $(READY)
	@$(PYTHON) -m experiments pretrained --profile $(PROFILE) --store $(STORE)

# Everything in the paper, on the terminal and as files.
tables: $(READY)
	@$(call run-and-report,all,$(TABLES) figure4 claims)

# The same, with every figure and one page of it all.
report: $(READY)
	@$(call run-and-report,all,all)

# `make sweep-threshold`, or any study or group that `python -m sweeps list` names.
sweep-%: $(READY)
	@$(PYTHON) -m sweeps run $* --profile $(PROFILE) --data $(DATA) --store $(STORE)
	@$(PYTHON) -m sweeps show $* --profile $(PROFILE) --data $(DATA) --store $(STORE)

# Speed against peers, side by side; kept under results/benchmarks.
bench: $(READY)
	@$(PYTHON) -m benchmarks --profile $(PROFILE)

# Everything that only a GPU can show, into results/gpu; MINUTES bounds a call, the next goes on.
gpu-day:
	@$(GPU_PYTHON) -m benchmarks.gpu_day $(if $(MINUTES),--minutes $(MINUTES)) --store $(STORE)

test: $(READY)
	@$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# 100 kills, 1100 damaged files and hostile command lines: a quarter of an hour on 2 cores.
faults: $(READY)
	@$(PYTHON) -m tests.faults

lint: $(READY)
	$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check . && $(PYTHON) -m mypy && \
	  $(PYTHON) -m pytest -q --durations 0 tests/test_rooms.py

# The first of these interpreters that runs and is 3.11 or 3.12. uv installs in a tenth of pip's
# time; pip is what knows the mirror of someone who has one.
$(READY): requirements.lock bootstrap.lock pyproject.toml
	@for python in python3 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; \
	  then found=$$python; break; fi; done; \
	if [ -z "$$found" ]; then echo "error: needs Python 3.11 or 3.12 on the PATH" >&2; exit 2; fi; \
	echo "setting up .venv with $$found from requirements.lock (5 GB, torch with it)"; \
	$$found -m venv --clear .venv && { { $(PIP) --require-hashes -r bootstrap.lock && \
	  .venv/bin/uv pip sync --quiet --compile-bytecode --python $(PYTHON) --require-hashes \
	    requirements.lock; } || \
	  $(PIP) --require-hashes -r requirements.lock; } && \
	$(PIP) --no-build-isolation --no-deps -e . && \
	touch $@

# Needs uv on the PATH. What the lock holds already keeps its version.
lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --all-extras --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv reports/output
