# make train     set up and run the main job on the embedded data; make train ARGS="model=resnet50 convert=true"
# make test      set up and run the tests that are fast
# make test-all  the same, then those that are slow by nature: whole zoos of networks, thousands of random cases, wheels
# make figures   set up and make every picture of docs/figures again, from data inside scikit-learn
# make bench     set up and measure speed and memory (about 40 minutes), into outputs/benchmark;
#                make bench BENCH=--quick tries it out in minutes
# make quick     set up and run the paper's sweeps in small, with their reports (about five minutes);
#                make quick QUICK=seed=0 takes half of that
# make study     set up and run the study of docs/results in small, with its report (under ten minutes on two cores)
# make check     lint, format and types
# make lowest    the fast tests with the oldest versions that pyproject.toml admits, in an environment of their own
#
# It installs the versions of constraints.txt, those that everything was tested with;
# make CONSTRAINTS=/dev/null takes the newest that pyproject.toml admits instead
PYTHON ?= python3
ARGS ?= convert=true
BENCH ?=
QUICK ?=
CONSTRAINTS ?= constraints.txt
BIN := .venv/bin

.PHONY: train test test-all quick study figures bench check lowest format clean

train: .venv/installed
	$(BIN)/python train.py $(ARGS)

# One thread for each worker: the workers themselves are as many as there are cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 8 --dist loadfile

test: .venv/installed-dev
	$(PYTEST) -m "not slow"

test-all: test
	$(PYTEST) -m slow

quick: .venv/installed
	for table in table1 table7 table8; do \
	  $(BIN)/python train.py -m experiment=$${table}_quick $(QUICK) && \
	  $(BIN)/python scripts/report.py outputs/sweeps/$${table}_quick --output outputs/reports/$$table || exit 1; \
	done
	rm -rf outputs/reports/table2
	$(BIN)/python scripts/evaluate.py run=outputs/sweeps/table8_quick/digits_toy_cnn_seed0_data.augment-none \
	  evaluation.samplings=[naive,lattice,complete] output=outputs/reports/table2
	$(BIN)/python train.py -m experiment=table3_quick
	$(BIN)/python scripts/report.py outputs/sweeps/table3_quick --table table3 --output outputs/reports/table3

# Few images and seeds, and a part of the test set: the path of docs/results, not its numbers.
STUDY := seed=0,1 data.train_images=128 +trainer.limit_val_batches=1 +trainer.limit_test_batches=4 \
  callbacks.pictures=null logger=csv

LONGER_fashion_resnet := trainer.max_epochs=14,22

study: .venv/installed
	OMP_NUM_THREADS=1 $(MAKE) -j2 study-fashion_resnet study-digits study-fashion_toy
	$(BIN)/python scripts/report.py outputs/sweeps/quick_study_* --output outputs/reports/study
	$(BIN)/python scripts/conversions.py outputs/sweeps/quick_study_* evaluation.limit=200 --output outputs/reports/study

study-%: .venv/installed
	$(BIN)/python train.py -m experiment=study_$* sweep=quick_study_$* $(STUDY)
	$(BIN)/python train.py -m experiment=study_$*_longer sweep=quick_study_$* $(STUDY) $(LONGER_$*)

figures: .venv/installed
	$(BIN)/python scripts/figures.py

bench: .venv/installed
	$(BIN)/python scripts/benchmark.py $(BENCH)

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lowest: .venv/lowest/installed
	.venv/lowest/bin/python -m pytest -m "not slow" -o filterwarnings=

format: .venv/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "ccnn needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet -e . -c $(CONSTRAINTS)
	@touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/pip install --quiet -e '.[dev]' -c $(CONSTRAINTS)
	@touch .venv/installed $@

.venv/lowest/installed: pyproject.toml scripts/lowest.py | .venv/bin/python
	$(PYTHON) -m venv .venv/lowest
	$(PYTHON) scripts/lowest.py > .venv/lowest/versions.txt
	.venv/lowest/bin/pip install --quiet -r .venv/lowest/versions.txt
	@touch $@
