# Snakemake compares time stamps, which a file that replaces another one may have from before. So the state of images and weights is a param:
# it is another one if a file is not as it was checked. Stamps are no output, since Snakemake removes outputs before a job, which needs them.
rule fetch_images:
    input:
        untracked_inputs(*EXPERIMENT.dataset.label_paths),
    output:
        f"{RESULTS}/images.csv",
    log:
        f"{LOGS}/fetch_images.log",
    benchmark:
        f"{BENCHMARKS}/fetch_images.tsv"
    resources:
        mem_mb=2000,
        fetches=1,
    params:
        data=[tracked_hash(EXPERIMENT.dataset.calibration), tracked_hash(EXPERIMENT.dataset.evaluation)],
        dataset=EXPERIMENT.dataset.model_dump(mode="json", exclude=PREPROCESSING),
        stamps=f"{RESULTS}/images.stamps.csv",
        state=lambda wildcards: state_of(f"{RESULTS}/images.stamps.csv"),
        code=code_fingerprint("qhyvit.data.manifest"),
    shell:
        "qhyvit fetch images --output {output:q} --stamps {params.stamps:q} --state {params.state:q} > {log:q} 2>&1"


# Weights with a source are no input: the job downloads them.
rule fetch_weights:
    input:
        lambda wildcards: (
            []
            if SETTINGS.models[wildcards.model].source
            else untracked_inputs(SETTINGS.configured_weights(wildcards.model))
        ),
    output:
        f"{RESULTS}/{{model}}/weights.json",
    log:
        f"{LOGS}/fetch_weights/{{model}}.log",
    benchmark:
        f"{BENCHMARKS}/fetch_weights/{{model}}.tsv"
    priority: SEARCH_PRIORITY
    resources:
        mem_mb=1000,
        fetches=1,
    params:
        data=lambda wildcards: tracked_hash(SETTINGS.configured_weights(wildcards.model)),
        stated=lambda wildcards: str(SETTINGS.configured_weights(wildcards.model)),
        model=lambda wildcards: settings(SETTINGS.models[wildcards.model]),
        stamps=lambda wildcards: f"{RESULTS}/{wildcards.model}/weights.stamp.csv",
        state=lambda wildcards: state_of(
            f"{RESULTS}/{wildcards.model}/weights.stamp.csv", SETTINGS.weights_path(wildcards.model)
        ),
        code=model_code("qhyvit.models.zoo"),
    shell:
        "qhyvit fetch weights --model {wildcards.model:q} --output {output:q}"
        " --stamps {params.stamps:q} --state {params.state:q} > {log:q} 2>&1"
