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
        mem_mb=growing(4000),
        gpu=GPU,
    params:
        draw=draw,
        settings=settings(EXPERIMENT.calibration),
        code=model_code("qhyvit.steps.calibrate"),
    shell:
        "qhyvit calibrate --model {wildcards.model} {params.draw}"
        " --images {input.images} --output {output} --threads {threads} > {log} 2>&1"
