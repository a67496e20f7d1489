# On ImageNet a network must first have its published accuracy, which `qhyvit evaluate` checks. A later check reruns no calibration.
rule calibrate:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
        fp32=[ancient(f"{RESULTS}/{{model}}/fp32.json")] if EXPERIMENT.dataset.is_whole_imagenet() else [],
    output:
        f"{RESULTS}/{{model}}/seed{{seed}}/calibration.safetensors",
    log:
        f"{LOGS}/calibrate/{{model}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/calibrate/{{model}}-seed{{seed}}.tsv"
    priority: SEARCH_PRIORITY
    threads: 1
    resources:
        mem_mb=mem_per_attempt(4000),
        gpu=GPU,
    params:
        arguments=calibrate_arguments,
        settings=settings(EXPERIMENT.calibration),
        runtime=runtime("calibrate"),
        code=model_code("qhyvit.cli.calibrate"),
    shell:
        "qhyvit calibrate --model {wildcards.model:q} {params.arguments:q}"
        " --images {input.images:q} --output {output:q} --threads {threads:q} > {log:q} 2>&1"


# Gradients of the network quantized by default, for all methods with equal default settings, whose hash is {key}. The command gets one of these
# methods by a function of the inputs, so that another choice reruns nothing.
rule recalibrate:
    input:
        images=f"{RESULTS}/images.csv",
        calibration=rules.calibrate.output,
    output:
        f"{RESULTS}/{{model}}/seed{{seed}}/recalibration-{{key}}-{{bits}}.safetensors",
    log:
        f"{LOGS}/recalibrate/{{model}}-seed{{seed}}-{{key}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/recalibrate/{{model}}-seed{{seed}}-{{key}}-{{bits}}.tsv"
    wildcard_constraints:
        key="[0-9a-f]+",
    priority: SEARCH_PRIORITY
    threads: 1
    resources:
        mem_mb=mem_per_attempt(4000),
    params:
        method=lambda wildcards, input: next(
            name for name, method in SETTINGS.methods.items() if method.recalibration_key == wildcards.key
        ),
        runtime=runtime("recalibrate"),
        code=model_code("qhyvit.cli.recalibrate"),
    shell:
        "qhyvit recalibrate --model {wildcards.model:q} --method {params.method:q} --bits {wildcards.bits:q}"
        " --images {input.images:q} --calibration {input.calibration:q} --output {output:q} --threads {threads:q} > {log:q} 2>&1"
