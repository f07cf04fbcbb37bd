# make run  [DATASET=demo|bernett|b4ppi_yeast|b4ppi_human]   the notebooks in order, with figures and a table at the end
# make test                                      all tests, the notebooks among them
# make lab                                       JupyterLab on the notebooks
# make docs / make figures                       the executed notebooks as a site in site/; all figures, light and dark
# make lint                                      style checks
# make bench                                     all speeds in one run, for the README's table and figure; 12 to 25 minutes
# make bench-more                                the other comparisons; 5,000 proteins against all; an hour

PYTHON ?= python3
DATASET ?= demo
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test lab docs figures lint bench bench-more clean
.DELETE_ON_ERROR:

run: $(READY)
	$(BIN)/ppi run --dataset $(DATASET)

# Two processes at once, of one thread each: two of two threads would wait for one another. The notebooks, which share
# a folder, are one process's, beside the unit tests: see tests/conftest.py.
test: export OMP_NUM_THREADS = 1
test: $(READY)
	$(BIN)/pytest -n 2 --no-loadscope-reorder --nbmake --nbmake-kernel=python3 --nbmake-timeout=600 notebooks tests

lab: $(READY)
	$(BIN)/jupyter lab --notebook-dir=notebooks

docs: run
	rm -rf site && mkdir site && cp runs/$(DATASET)/notebooks/*.html site/

figures: run
	$(BIN)/ppi figures runs/$(DATASET)/figures

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

bench: $(READY)
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/summary.py

# What takes longer or asks for something else: each writes its own file under benchmarks/results.
bench-more: $(READY)
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/pretraining.py
	$(BIN)/python benchmarks/embedding.py
	$(BIN)/python benchmarks/screening.py speed exactness growth predict large
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/truth.py
	$(BIN)/python benchmarks/dashboard.py

# torch first and alone: a later requirement then keeps the build that is there.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

clean:
	rm -rf .venv runs site
