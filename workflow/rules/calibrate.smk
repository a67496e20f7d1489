rule calibrate:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
    output:
        f"{RESULTS}/{{model}}/seed{{seed}}/calibration.safetensors",
    log:
        f"{LOGS}/calibrate/{{model}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/calibrate/{{model}}-seed{{seed}}.tsv"
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
        "qhyvit calibrate --model {wildcards.model} {params.arguments}"
        " --images {input.images} --output {output} --threads {threads} > {log} 2>&1"
