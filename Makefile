# make run    the embedded benchmark, from an empty folder to results/report.html (no GPU, no download but packages)
# make gpu    what only a GPU can answer: nine minutes, ends with a table (docs/gpus.md)
# make check  before each commit: lint, and the fast tests (three minutes on two cores)
# make test   every test that needs no GPU, also those marked `slow`
# make lint   ruff, mypy, snakefmt, snakemake --lint
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run gpu check test lint format venv clean

run: venv
	$(BIN)/snakemake --cores all
	@echo "report: $(CURDIR)/results/report.html"

# A run is never written over: its folder is named for the time it began.
gpu: OUT := build/gpu-$(shell date +%Y%m%d-%H%M%S)
gpu: venv
	$(BIN)/python benchmarks/on_gpu.py --minutes 9 --out $(OUT)
	@echo "rows: $(CURDIR)/$(OUT)/rows.jsonl"

check: lint
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not slurm"

test: venv
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: venv
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

# The environment is rebuilt whenever the hash of the lock is not the one it was built from.
venv:
	@$(PYTHON) -c 'import sys; sys.exit("zsr needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@wanted=$$($(PYTHON) -c 'import hashlib; print(hashlib.sha256(open("requirements.lock", "rb").read()).hexdigest())'); \
	if [ "$$(cat .venv/.lock 2>/dev/null)" != "$$wanted" ]; then \
	  if [ -d .venv ]; then why="requirements.lock has changed"; else why="there is none yet"; fi; \
	  echo "making .venv from requirements.lock ($$why): one to three minutes"; \
	  rm -rf .venv && $(PYTHON) -m venv .venv \
	  && $(BIN)/python -m pip install --quiet --no-deps -r requirements.lock \
	  && $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable . \
	  && echo "$$wanted" > .venv/.lock; \
	fi

clean:
	rm -rf results .snakemake
