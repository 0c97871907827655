# GNU make 3.81, which macOS has, looks simple commands up in its own PATH, not in the one exported
# below; with another shell than /bin/sh it leaves the look-up to the shell.
SHELL := bash
# The first that runs: pyenv also puts Pythons on the PATH that are not active.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c "" 2> /dev/null && command -v $$name && break; done)
VENV ?= .venv
# pip refuses a package whose bytes are not those of the lock.
PIP_INSTALL := pip install --quiet --disable-pip-version-check --progress-bar on --require-hashes
export PATH := $(abspath $(VENV))/bin:$(PATH)

CHECK_PYTHON = @$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
  "error: expected Python 3.11 to 3.13, received %d.%d; name one with make … PYTHON=python3.11" % v)'

# What make sweep runs, and how many points at a time.
GRID := fine_tune_at=98,116,140 fine_tune_learning_rate=3e-4,1e-3
JOBS := 1
# What make search tries, and in what space; docs/experiments.md.
TRIALS := 20
SPACE :=
# What make compare compares: experiments or Git revisions.
A := HEAD
B := workspace
# Options of make serve, such as --port 9000.
SERVE :=
# An interpreter that has PyTorch, for make bench to compare with.
TORCH :=
FAULTS := archives disk images kills trust

.PHONY: help install lock audit demo run app review watch serve sweep search table compare export \
  publish docs test test-slow lint repeat faults bench bench-all bench-quick
.DEFAULT_GOAL := help

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s%s\n", $$1, $$2 }' Makefile

install: $(VENV)/installed  ## make the virtual environment

# Two packages come as source only (antlr4-python3-runtime, wsgidav). To build them, pip would fetch
# a setuptools that no hash pins; so the setuptools of the lock is installed first and builds them.
$(VENV)/installed: requirements.lock
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(VENV)
	sed -n '/^setuptools==/,/[^\\]$$/p' $< > $(VENV)/setuptools.lock
	$(PIP_INSTALL) -r $(VENV)/setuptools.lock
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

$(VENV)/test-installed: tests/requirements.lock $(VENV)/installed
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

$(VENV)/app-installed: app/requirements.lock $(VENV)/installed
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

$(VENV)/search-installed: extras/search.lock $(VENV)/installed
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

$(VENV)/docs-installed: extras/docs.lock $(VENV)/installed
	$(PIP_INSTALL) --no-build-isolation -r $<
	touch $@

# An environment of its own, for a machine that only serves.
$(VENV)/service/installed: service/requirements.lock
	$(CHECK_PYTHON)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/$(PIP_INSTALL) -r $<
	touch $@

lock: $(VENV)/test-installed  ## write the lock files, after a change of any *.txt
	for file in requirements {app,service,tests}/requirements extras/{docs,search}; do \
	  uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command "make lock" --output-file $$file.lock $$file.txt || exit; \
	done

audit: $(VENV)/test-installed  ## look up known vulnerabilities of the locked packages (needs the internet)
	uvx pip-audit@2.10.1 --strict --disable-pip --require-hashes \
	  $(addprefix -r ,requirements.lock $(wildcard */*.lock))

demo: install  ## run the whole pipeline on drawn pictures, in .demo/
	python -m scripts.project .demo data_url=sample
	cd .demo && dvc repro && dvc metrics show
	@echo "Look at the pictures in .demo/plots"

run: install  ## run the whole pipeline with params.yaml; the same as dvc repro
	dvc repro

app: install $(VENV)/app-installed  ## serve a web page that classifies images, on this machine
	python -m streamlit run app/page.py

review: install $(VENV)/app-installed  ## serve a web page to correct wrong labels, on this machine
	python -m streamlit run app/review.py

watch: install $(VENV)/app-installed  ## serve a web page that follows a training, on this machine
	python -m streamlit run app/watch.py

serve: $(VENV)/service/installed  ## serve predictions over HTTP, on this machine; SERVE="--port 9000"
	$(<D)/bin/python -m service $(SERVE)

sweep: install  ## run a grid of parameters, GRID="name=1,2 …" JOBS=1; write a table and a figure
	python -m scripts.sweep --jobs $(JOBS) $(foreach values,$(GRID),'$(values)')

search: install $(VENV)/search-installed  ## search for better parameters, TRIALS=20 SPACE="name=1,2 …"; write a report
	python -m scripts.search --trials $(TRIALS) $(foreach values,$(SPACE),'$(values)')

table: install  ## print a table of this commit and its experiments, best first
	python -m scripts.table

compare: install  ## compare two experiments on the same test images, A=main B=NAME
	python -m scripts.compare '$(A)' '$(B)'

export: install  ## export the model for TensorFlow, LiteRT and ONNX to exports/, and check each
	python -m scripts.export

publish: install  ## write publish/, the model and its card as the Hugging Face hub takes them
	python -m scripts.publish

docs: install $(VENV)/docs-installed  ## build the guides as a site in site/; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict

test: install $(VENV)/test-installed  ## run the tests, but for those that test-slow runs
	python -m pytest -rs -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-slow: install $(VENV)/test-installed  ## run the tests of clusters, servers, queues and a browser
	python -m pytest -rs -n 2 --dist loadfile -m slow

lint: install  ## check style and format
	ruff check .
	ruff format --check .

repeat: install  ## run the sample's pipeline twice and compare every output
	python -m scripts.repeat

faults: install $(VENV)/test-installed  ## inject faults, an hour of them; SHORT=--short for a few
	for part in $(FAULTS); do python -m tests.faults.$$part $(SHORT) || exit; done

bench: install  ## measure against the tutorial's script, TORCH=/usr/bin/python3 and the floor
	python -m benchmarks $(if $(TORCH),--torch $(TORCH))

bench-all: bench  ## measure the headline, sweeps, strategies, scale and all backbones, too: hours
	python -m benchmarks headline sweep strategies scaling backbones

bench-quick: install  ## run the comparison with one seed and one epoch per phase, in .bench/
	mkdir -p .bench
	BENCH_RESULTS=.bench python -m benchmarks.compare --seeds 0 --epochs 1 --only-default
