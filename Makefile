# make lab opens the course, make test proves it; both set up .venv first, where that is missing or out of date.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.set-up
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)
SITE_STAMP := $(VENV)/.set-up-site

.PHONY: help setup lab test test-package test-notebooks faults distributed browser site pdf bench train record counts lint format constraints clean

help:             ## Show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /make \1 - /'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is %d.%d; try: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once; about 6 GB on Linux, a few minutes)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: $(STAMP)   ## Create or update .venv

lab: $(STAMP)     ## Open the course in JupyterLab
	$(PY) -m jupyterlab --config=tudui_course/jupyter/lab_config.py $(AS_ROOT) $(LAB_ARGS)

test: $(STAMP)    ## Run all tests, notebooks included
	@$(MAKE) --no-print-directory test-package; package=$$?; \
	$(MAKE) --no-print-directory test-notebooks && exit $$package

test-package: $(STAMP)  ## Run the package's tests
	$(PY) -m pytest tests -q -n 2

test-notebooks: $(STAMP)  ## Run every notebook and compare its output (nbval)
	$(PY) -m pytest notebooks -q --nbval -n 2 --dist loadfile

faults: $(STAMP)  ## Break what machines break, thousands of times, and write what survived into docs/promises.md (15 minutes, Linux)
	$(PY) tools/faults.py

distributed: $(STAMP)  ## Train on two machines and cut one off: network namespaces stand in for them (Linux, as root; three minutes)
	$(PY) tools/several_machines.py

browser: site pdf  ## Try JupyterLab, the site and the PDFs in a real browser (gets one, and what else it needs)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[browser]'
	@browser=$$($(PY) tools/get_browser.py) && CHROMIUM="$$browser" $(PY) -m pytest tests_browser -q

$(SITE_STAMP): $(STAMP)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[site]'
	@touch $@

site: $(SITE_STAMP)  ## Build the course as web pages in build/site, and check them
	$(PY) tools/build_site.py

pdf: site          ## Print the course as PDFs in build/pdf: in Chinese, in English, in both (gets a browser and a Chinese font)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[pdf]'
	$(PY) tools/make_pdf.py

bench: $(STAMP)   ## Measure the speed beside the lesson's script and other libraries (gets those; 15 minutes, nothing else running)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(PY) benchmarks/bench.py $(BENCH_ARGS)

train: $(STAMP)   ## Train the course's network on the embedded pictures
	$(PY) -m tudui_course train

record: $(STAMP)  ## Run all notebooks and store their outputs
	$(PY) tools/record.py

counts: $(STAMP)  ## Count each notebook's cells, printed lines, figures and tolerances
	$(PY) tools/notebook_counts.py $(NOTEBOOKS)

lint: $(STAMP)    ## Check style and formatting
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

format: $(STAMP)  ## Format and mend what ruff can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

constraints: $(STAMP)  ## Write down the installed versions as those to install
	@{ head -n 1 constraints.txt; $(PY) -m pip freeze --exclude-editable | grep -v '^#'; } > .constraints && mv .constraints constraints.txt

clean:            ## Remove .venv and caches; data sets and runs stay
	rm -rf $(VENV) build site .pytest_cache .ruff_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
