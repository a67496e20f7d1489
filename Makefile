# make install | reproduce | resume | verify | status | diff REV=... | archive | test | lint | format | bench | test-slurm | kill-and-resume |
# images | weights MODEL=... | subset IMAGENET=... NAME=... | share-weights | share-results | fetch-results | lock; see README.md,
# docs/architecture.md, docs/archive.md, docs/cluster.md and docs/imagenet-subsets.md. Variables given to
# make are in the environment of the run: IMAGENET_MINI=/path for config/experiments/imagenet-mini.yaml.
CONFIG ?= config/config.yaml
REV ?= HEAD
# A terminal shows the progress of each rule instead of one line per job; .snakemake/log has the lines in any case.
LIVE := $(if $(MAKE_TERMOUT),--logger rich)
PYTHON ?= python3
PROFILE ?=
SLURM_TESTS ?= slurm
export CONFIG REV PYTHON PROFILE SLURM_TESTS # for recipes to quote: a value may have spaces and semicolons
BIN := .venv/bin
INSTALLED := .venv/.installed
CLUSTER_INSTALLED := .venv/.cluster-installed
export EXTRAS := dev,deploy

.PHONY: install reproduce resume verify status test pytest test-slurm slurm kill-and-resume bench diff archive lint format lock images weights subset
.PHONY: share-weights share-results fetch-results

# Everything into .venv, which the other targets do by themselves.
install: $(INSTALLED)

# With PROFILE=profiles/slurm the jobs go to a cluster (docs/cluster.md). Both names resume a run that was stopped or killed, and end with a
# table of the agreement with the committed results.
reproduce resume: $(INSTALLED) $(if $(PROFILE),$(CLUSTER_INSTALLED))
	report=$$($(BIN)/python -m workflow.scripts.report_path "$$CONFIG") && \
	  $(BIN)/python workflow/scripts/run.py $(if $(PROFILE),--profile "$$PROFILE") --configfile "$$CONFIG" \
	  --report "$$report" --report-after-run $(LIVE)
	$(BIN)/qhyvit reproduced --config "$$CONFIG"

# Measures the cheap claims of resources/claims.yaml again; fails if a value is not within its tolerance of the committed one.
VERIFY := reports/verify
verify: $(INSTALLED)
	$(BIN)/python workflow/scripts/run.py --configfile config/experiments/verify.yaml $(LIVE) -- \
	  $(VERIFY)/tables/table_ii.csv $(VERIFY)/tables/paired.csv
	$(BIN)/qhyvit claims --verify $(VERIFY)

# Progress of the run, from any terminal.
status: $(INSTALLED)
	$(BIN)/python -m workflow.scripts.status

# Type checks and tests at once: neither alone uses two cores all the time.
test: $(INSTALLED)
	$(MAKE) --jobs 2 lint pytest

pytest: $(INSTALLED)
	$(BIN)/python -m pytest

# Runs on a Slurm of one node, which needs root: faults of a cluster, and runs that are killed. Most of the time is waiting.
test-slurm: slurm
	$(BIN)/python -m pytest tests/slurm -m "$$SLURM_TESTS" -n 0 -vv

slurm: $(CLUSTER_INSTALLED)
	command -v slurmctld > /dev/null || (apt-get update -q && apt-get install -q -y --no-install-recommends slurm-wlm munge)

# Ten local runs and three on that Slurm, each killed once and completed.
kill-and-resume: slurm
	$(BIN)/python tests/slurm/kill_and_resume.py

# Plans of up to 50,000 jobs, each method and other tools, evaluation, tuning, kernels and latency of exported models, in minutes each; then
# the fast search against the naive one, in half an hour. Tuning and the last two resume after an interruption.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.planning
	$(BIN)/python -m benchmarks.methods
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.tuning
	$(BIN)/python -m benchmarks.kernels
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.search

# Compares results.csv with that of a commit; fails if a run got significantly worse.
diff: $(INSTALLED)
	$(BIN)/qhyvit diff --config "$$CONFIG" "$$REV"

# One file in dist/ for a deposit under a DOI: sources, images, weights, reports, provenance and checksums (docs/archive.md).
archive: $(INSTALLED)
	$(BIN)/python -m workflow.scripts.archive

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/python -m workflow.scripts.lint

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/snakefmt Snakefile workflow

# One lock for all platforms. Versions in it are kept: delete it to update them. PyTorch pins its CUDA libraries itself, where its build needs
# them. It has no place for the extra s3, whose packages need python-dateutil 2.
lock:
	uv pip compile pyproject.toml --extra dev --extra deploy --extra cluster --universal --python-version 3.11 --no-annotate --no-header \
	  --no-emit-package torch --output-file requirements.lock --quiet
	grep -v -E '^(nvidia-|cuda-|triton)' requirements.lock > requirements.lock.new && mv requirements.lock.new requirements.lock

# Makes the embedded images and weights again and puts them under DVC. A run only pulls them. What is not made comes from the store: DVC
# commits the file data.dvc as a whole.
images: $(INSTALLED)
	$(BIN)/dvc pull
	$(BIN)/python workflow/scripts/run.py --configfile "$$CONFIG" -- fetch_cifar10
	rm -rf data/new && mkdir -p data && cp -r results/cifar10-sample data/new
	cd data && rm -rf cifar10 cifar10-tuning cifar10-final && mv new/*/ . && rm -r new
	$(BIN)/dvc commit --force data.dvc && $(BIN)/dvc push

weights: $(INSTALLED)
	$(if $(MODEL),,$(error MODEL is not given; name one of the section `training` of $(CONFIG), as in MODEL=mobilevit_xxs))
	$(BIN)/dvc pull
	$(BIN)/python workflow/scripts/run.py --configfile "$$CONFIG" -- "results/training/$$MODEL.safetensors"
	mkdir -p data/weights && cp "results/training/$$MODEL.safetensors" data/weights/
	$(BIN)/dvc commit --force data.dvc && $(BIN)/dvc push

# Draws a subset of ImageNet, and pushes it to the remote of the folder imagenet (docs/imagenet-subsets.md).
subset: export NAME = imagenet-$(EVALUATION)
subset: export EVALUATION = 5
subset: export CALIBRATION = 1
subset: export SEED = 0
subset: export CLASSES = 1000
subset: export BASE = config/experiments/imagenet.yaml
subset: $(INSTALLED)
	$(if $(IMAGENET),,$(error IMAGENET is not given; name the folder with train and val, or the archives, as in IMAGENET=/data/imagenet))
	$(BIN)/qhyvit fetch subset --imagenet "$$IMAGENET" --name "$$NAME" --evaluation "$$EVALUATION" --calibration "$$CALIBRATION" \
	  --seed "$$SEED" --classes "$$CLASSES" --base "$$BASE"
	$(BIN)/qhyvit share "imagenet/$$NAME"

# Fetches the weights of an experiment on ImageNet, and pushes them to the same remote.
share-weights: $(INSTALLED)
	$(BIN)/python workflow/scripts/run.py --configfile "$$CONFIG" --until fetch_weights
	$(BIN)/qhyvit share imagenet/weights/*.safetensors

# Results of finished jobs, which another machine fetches and continues from (docs/cluster.md).
share-results fetch-results: %-results: $(INSTALLED)
	$(BIN)/python -m workflow.scripts.shared_results $*

define install
	if command -v uv > /dev/null; then \
	  uv pip install --python $(BIN)/python --constraint requirements.lock --editable ".[$(1)]"; \
	else \
	  $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable ".[$(1)]"; \
	fi
	touch $@
endef

$(INSTALLED): pyproject.toml requirements.lock
	"$$PYTHON" -m venv .venv
	$(call install,$$EXTRAS)

$(CLUSTER_INSTALLED): $(INSTALLED)
	$(call install,cluster)
