# make reproduce | resume | status | test | test-slurm | bench | diff REV=... | format | lock | weights MODEL=... ; see README.md
# A variable given to make is in the environment of the run: IMAGENET_MINI=/path for config/experiments/imagenet-mini.yaml.
CONFIG ?= config/config.yaml
REV ?= HEAD
# A terminal shows the progress of each rule, in the place of a line a job; .snakemake/log has those anyhow.
LIVE := $(if $(MAKE_TERMOUT),--logger rich)
PYTHON ?= python3
PROFILE ?=
SLURM_TESTS ?= slurm
BIN := .venv/bin
INSTALLED := .venv/.installed
BENCH_INSTALLED := .venv/.bench-installed
CLUSTER_INSTALLED := .venv/.cluster-installed

.PHONY: reproduce resume status test test-slurm slurm kill-and-resume bench diff lint format lock images weights

# With PROFILE=profiles/slurm the jobs go to a cluster (docs/cluster.md). A run that was stopped or killed goes on by the same command, under
# either name: what it left behind is cleared first.
reproduce resume: $(INSTALLED) $(if $(PROFILE),$(CLUSTER_INSTALLED))
	$(BIN)/python workflow/scripts/run.py $(if $(PROFILE),--profile $(PROFILE)) --configfile $(CONFIG) --report reports/report.html --report-after-run $(LIVE)

# How far that is, from another terminal too.
status: $(INSTALLED)
	$(BIN)/python -m workflow.scripts.status

test: $(INSTALLED) lint
	$(BIN)/python -m pytest

# On a Slurm of their own, for which they need root: a cluster, its faults, and runs that are killed. Most of its time is waiting.
test-slurm: slurm
	$(BIN)/python -m pytest tests/slurm -m '$(SLURM_TESTS)' -n 0 -vv

slurm: $(CLUSTER_INSTALLED)
	command -v slurmctld > /dev/null || (apt-get update -q && apt-get install -q -y --no-install-recommends slurm-wlm munge)

# Ten local runs and three on that Slurm, each killed once and completed.
kill-and-resume: $(CLUSTER_INSTALLED)
	$(BIN)/python tests/slurm/kill_and_resume.py

# Plans of up to 50,000 jobs, and each method and other tools beside it, in minutes; then the fast search against the naive one, which takes
# half an hour and goes on where it was stopped.
bench: $(BENCH_INSTALLED)
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.methods
	$(BIN)/python -m benchmarks.search

# What changed in results.csv since a commit: fails where a run got worse by more than chance explains.
diff: $(INSTALLED)
	$(BIN)/qhyvit diff --config $(CONFIG) $(REV)

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/python -m workflow.scripts.lint

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow

# One lock for all platforms; versions that it has stay, so delete it to renew them. The CUDA libraries of PyTorch are pinned by PyTorch
# itself, where its build needs them.
lock:
	uv pip compile pyproject.toml --extra dev --extra bench --extra cluster --universal --python-version 3.11 --no-annotate --no-header \
	  --no-emit-package torch --output-file requirements.lock --quiet
	grep -v -E '^(nvidia-|cuda-|triton)' requirements.lock > requirements.lock.new && mv requirements.lock.new requirements.lock

# The embedded images and weights, made anew and put under DVC: no part of a run, which pulls them.
images: $(INSTALLED)
	$(BIN)/python workflow/scripts/run.py --configfile $(CONFIG) -- fetch_cifar10
	rm -rf data/cifar10 && mkdir -p data/cifar10 && cp -r results/cifar10-sample/*/ data/cifar10
	$(BIN)/dvc commit --force data.dvc && $(BIN)/dvc push

weights: $(INSTALLED)
	$(BIN)/python workflow/scripts/run.py --configfile $(CONFIG) -- results/training/$(MODEL).safetensors
	mkdir -p data/weights && cp results/training/$(MODEL).safetensors data/weights/
	$(BIN)/dvc commit --force data.dvc && $(BIN)/dvc push

define install
	if command -v uv > /dev/null; then \
	  uv pip install --python $(BIN)/python --constraint requirements.lock --editable '.[$(1)]'; \
	else \
	  $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[$(1)]'; \
	fi
	touch $@
endef

$(INSTALLED): pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	$(call install,dev)

$(BENCH_INSTALLED): $(INSTALLED)
	$(call install,bench)

$(CLUSTER_INSTALLED): $(INSTALLED)
	$(call install,cluster)
