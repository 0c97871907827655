PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
# No package whose bytes are not those of the lock.
PIP_INSTALL := pip install --quiet --disable-pip-version-check --progress-bar on --require-hashes
export PATH := $(abspath $(VENV))/bin:$(PATH)
# The sample is small: larger steps, fewer of them.
DEMO := data_url=sample head_epochs=10 head_learning_rate=0.003 \
  fine_tune_epochs=6 fine_tune_learning_rate=0.00003

# What make sweep runs, and how many points at a time.
GRID := fine_tune_at=60,100,140 fine_tune_learning_rate=1e-5,1e-4
JOBS := 1
FAULTS := archives disk images kills trust

.PHONY: help install lock audit demo run app sweep export test lint repeat faults bench \
  bench-quick
.DEFAULT_GOAL := help

help:  ## list these targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 13

install: $(VENV)/installed  ## make the virtual environment

# Two packages come as source only (antlr4-python3-runtime, wsgidav). pip would fetch what builds
# them without looking at a hash, so setuptools is installed first, from the lock, and builds them.
$(VENV)/installed: requirements.lock
	$(PYTHON) -m venv $(VENV)
	sed -nE '/^setuptools==/,/[^\\]$$/p' $< | $(PIP_INSTALL) -r /dev/stdin
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

$(VENV)/test-installed: tests/requirements.lock $(VENV)/installed
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

$(VENV)/app-installed: app/requirements.lock $(VENV)/installed
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

lock: $(VENV)/test-installed  ## write the locks anew, after a change of any *.txt
	for file in requirements app/requirements tests/requirements; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command "make lock" --output-file $$file.lock $$file.txt || exit; \
	done

audit: $(VENV)/test-installed  ## look every locked package up in the advisories; needs the internet
	uvx pip-audit@2.10.1 --strict --disable-pip --require-hashes \
	  -r requirements.lock -r app/requirements.lock -r tests/requirements.lock

demo: install  ## run the whole pipeline on drawn pictures, in .demo/
	mkdir -p .demo
	git ls-files -z --cached --others --exclude-standard -- \
	  .dvc .dvcignore dvc.yaml params.yaml stages transfer | tar --null -T - -c | tar -x -C .demo
	cd .demo && dvc config core.no_scm true
	cd .demo && for p in $(DEMO); do \
	  sed -E "s|^($${p%%=*}:) .*|\1 $${p#*=}|" params.yaml > params.new && mv params.new params.yaml; \
	done
	cd .demo && dvc repro && dvc metrics show
	@echo "Look at the pictures in .demo/plots"

run: install  ## run the whole pipeline as params.yaml says; the same as dvc repro
	dvc repro

app: install $(VENV)/app-installed  ## serve a web page on this machine that says what pictures show
	python -m streamlit run app/page.py

sweep: install  ## run a grid of parameters, GRID="name=1,2 …" JOBS=1; one table, one picture
	python -m scripts.sweep --jobs $(JOBS) $(foreach values,$(GRID),'$(values)')

export: install  ## write the model for TensorFlow, LiteRT and ONNX, each tried out, to exports/
	python -m scripts.export

test: install $(VENV)/test-installed  ## run the tests
	python -m pytest -rs -n 2 --dist loadfile

lint: install  ## check style and format
	ruff check .
	ruff format --check .

repeat: install  ## run the sample's pipeline twice and compare every output
	python -m scripts.repeat

faults: install $(VENV)/test-installed  ## inject faults, an hour of them; SHORT=--short for a few
	for part in $(FAULTS); do python -m tests.faults.$$part $(SHORT) || exit; done

bench: install  ## compare with the tutorial's own script, measure every trick and scale; over an hour
	python -m benchmarks.compare
	python -m benchmarks.tricks
	python -m benchmarks.sweeps
	python -m benchmarks.strategies
	python -m benchmarks.scaling
	python -m benchmarks.backbones

bench-quick: install  ## the comparison with one seed and one epoch of each phase, in .bench/
	mkdir -p .bench
	BENCH_RESULTS=.bench python -m benchmarks.compare --seeds 0 --epochs 1 --only-default
