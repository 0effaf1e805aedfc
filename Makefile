# Every target sets up what it needs in .venv by itself; the second time that takes no time.
# Choose another interpreter with PYTHON=..., other pip flags (an index, say) with PIP_ARGS=...
VENV ?= .venv
RUN := $(VENV)/bin/python
FITS := -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
PYTHON ?= $(shell for p in python3 python3.12 python3.11 python3.10; do \
	$$p $(FITS) 2>/dev/null && echo $$p && break; done)
TEACHER := work_dirs/resnet18-w32_digits/epoch_10.pth

.PHONY: demo results bench counts device test test-long soak lint format docs lock clean

demo: $(VENV)/.demo  ## a teacher, its student alone and distilled in four ways with few labels, in one table
	$(RUN) tools/demo.py $(DEMO_ARGS)

$(TEACHER): | $(VENV)/.demo
	$(RUN) tools/train.py configs/baselines/resnet18-w32_digits.py

results: $(VENV)/.demo  ## train what ARENA compares, write the pages that show it; goes on if stopped
	$(RUN) tools/arenas/run.py $(ARENA) $(RESULTS_ARGS)

bench: $(VENV)/.demo $(TEACHER)  ## what mmkd costs, against the floor and others; writes docs/benchmarks.md
	$(RUN) tools/benchmark/speed/bench.py $(BENCH_ARGS)

counts: $(VENV)/.dev  ## what an iteration would ask of a GPU, counted without one; writes tests/pretended/bounds.md
	MMKD_COUNTS=1 $(RUN) -m pytest -q tests/pretended

device: $(VENV)/.dev  ## checks, speed and trainings on this machine's GPU, within minutes
	PYTHON=$(RUN) tools/device_run.sh $(DEVICE_ARGS)

test: $(VENV)/.dev  ## the test suite, without the long ones
	$(RUN) -m pytest -m 'not long' -n 2 --dist worksteal

test-long: $(VENV)/.dev  ## the long tests
	$(RUN) -m pytest -m long

soak: $(VENV)/.dev  ## the long tests of faults: kills, full disks, damaged files; writes docs/reliability.md
	MMKD_SOAK=docs/reliability.md $(RUN) -m pytest -m long tests/integration/test_faults*.py

lint: $(VENV)/.dev  ## what CI checks besides the tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(RUN) -m codespell_lib

format: $(VENV)/.dev  ## lay the code out
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

docs: $(VENV)/.docs  ## the documentation, in docs/_build; runs the tutorial
	$(RUN) -m sphinx -W -q docs docs/_build

lock: $(VENV)/.venv  ## choose the pinned versions anew; tests decide whether they stay
	$(RUN) -m pip install -q uv
	$(RUN) -m uv pip compile --universal --python-version 3.10 --no-annotate --no-header -q \
		requirements/core.txt requirements/onedl-cls.txt requirements/onedl-det.txt requirements/demo.txt \
		requirements/dev.txt requirements/docs.txt -c requirements/pins.txt -o requirements/lock.txt

clean:
	rm -rf $(VENV) build dist docs/_build docs/jupyter_execute *.egg-info

# The stamps are made last, so an interrupted set-up is done again.
$(VENV)/.venv:
	@test -n '$(PYTHON)' || { echo 'error: mmkd needs Python 3.10 to 3.12, and none of python3, python3.12,' \
		'python3.11, python3.10 on the PATH is one; install one or run: make PYTHON=/path/to/python'; exit 1; }
	@$(PYTHON) $(FITS) || { echo 'error: mmkd needs Python 3.10 to 3.12, but $(PYTHON) is another'; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo 'error: $(PYTHON) cannot make a virtual environment; on Debian run: apt install python3-venv'; exit 1; }
	@touch $@

REQUIREMENTS := setup.py $(wildcard requirements/*.txt)
PIP = $(RUN) -m pip install -q --disable-pip-version-check -c requirements/lock.txt $(PIP_ARGS)

$(VENV)/.demo: $(VENV)/.venv $(REQUIREMENTS)
	@echo 'Setting up $(VENV) (several minutes the first time: torch is large) ...'
	$(PIP) -e '.[onedl,demo]'
	@# mmcv and mmdet ask for two builds of one OpenCV; where the one with windows cannot load, the other takes its place.
	@$(RUN) -c 'import cv2' 2>/dev/null || $(PIP) --force-reinstall --no-deps opencv-python-headless
	@$(RUN) -c 'import mmkd'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) -e '.[onedl,demo,dev]'
	@touch $@

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) -e '.[onedl,docs]'
	@touch $@
