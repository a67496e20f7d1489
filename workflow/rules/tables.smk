RESIZED = [f"{seed}-{count}images" for count in EXPERIMENT.calibration_sizes for seed in EXPERIMENT.seeds]
FIRST_SEED = EXPERIMENT.seeds[:1]


def challenges_of(models, name):
    """List an output of `qhyvit challenges` for each model, with the first seed."""
    return expand(rules.challenges.output[name], model=models, seed=FIRST_SEED)


# Files of each kind of input that the registry names, those of runs for the given models.
SOURCES = {
    "results": lambda models: rules.aggregate.output.results,
    "correct": lambda models: rules.aggregate.output.correct,
    "challenges": lambda models: f"{REPORTS}/{TABLES['challenges'].path}.csv",
    "timings": lambda models: f"{REPORTS}/{TABLES['timings'].path}.csv",
    "calibration_size": lambda models: f"{REPORTS}/{TABLES['calibration_size'].path}.csv",
    "deployment": lambda models: f"{REPORTS}/{TABLES['deployment'].path}.csv",
    "deployed": lambda models: [*rules.aggregate.input.fp32, *deployed_runs(models)],
    "images": lambda models: f"{RESULTS}/images.csv",
    "latency": lambda models: untracked_inputs(Path("reports/benchmarks/latency.csv")),
    "evaluations": lambda models: [
        *rules.aggregate.input.fp32,
        *expand_runs(RESULT, [*EXPERIMENT.seeds, *RESIZED], models),
    ],
    "quantized": lambda models: expand_runs(RESULT, EXPERIMENT.seeds, models),
    "site_errors": lambda models: expand_runs(SITE_ERRORS, FIRST_SEED, models),
    "activations": lambda models: challenges_of(models, "activations"),
    "channel_ranges": lambda models: challenges_of(models, "channels"),
    "networks": lambda models: challenges_of(models, "summary"),
    "sensitivity": lambda models: expand(rules.sensitivity.output, model=models, seed=FIRST_SEED, allow_missing=True),
    "jobs": lambda models: [
        *rules.aggregate.output,
        *SOURCES["evaluations"](models),
        *SOURCES["activations"](models),
        *deployed_runs(models),
        *expand(
            rules.sensitivity.output,
            model=models,
            seed=FIRST_SEED,
            method=EXPERIMENT.sensitivity.methods,
            bits=EXPERIMENT.sensitivity.bits,
        ),
    ],
}


def sources(entry, models):
    """Return the inputs of a table or figure by kind, without benchmark files, which Snakemake writes but does not track."""
    published = {kind: f"resources/{kind}.csv" for kind in entry.inputs if kind.startswith("published/")}
    return published | {kind: SOURCES[kind](models) for kind in entry.inputs if kind in SOURCES}


def input_options(entry):
    """Return a param: the inputs as options of `qhyvit table` and `qhyvit figure`."""
    benchmarks = [f"benchmarks={BENCHMARKS}"] if "benchmarks" in entry.inputs else []
    return lambda wildcards, input: repeated(
        "--input",
        benchmarks
        + [
            f"{kind}={path}"
            for kind, paths in input.items()
            if kind != "jobs"
            for path in ([paths] if isinstance(paths, str) else paths)
        ],
    )


for TABLE in EXPERIMENT_TABLES:

    rule:
        name:
            f"table_{TABLE.name.removeprefix('table_')}"
        input:
            **sources(TABLE, EXPERIMENT.models),
        output:
            table_files(TABLE),
        log:
            f"{LOGS}/table/{TABLE.name}.log",
        group:
            "tables"
        resources:
            mem_mb=mem_per_attempt(1000),
        params:
            table=[TABLE.name, "--output", f"{REPORTS}/{TABLE.path}"],
            inputs=input_options(TABLE),
            caption=TABLE.caption,
            methods=METHODS,
            settings=[settings(SETTINGS), software()] if TABLE.name == "configuration" else settings(EXPERIMENT.dataset),
            code=code_fingerprint("qhyvit.cli.table", TABLE.module),
        shell:
            "qhyvit table {params.table:q} {params.inputs:q} > {log:q} 2>&1"
