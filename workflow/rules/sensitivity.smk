rule sensitivity:
    input:
        images=f"{RESULTS}/images.csv",
        quantized=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-partial-{{bits}}.safetensors",
    output:
        f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-partial-{{bits}}.sensitivity.csv",
    log:
        f"{LOGS}/sensitivity/{{model}}-seed{{seed}}-{{method}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/sensitivity/{{model}}-seed{{seed}}-{{method}}-{{bits}}.tsv"
    threads: 1
    resources:
        mem_mb=mem_per_attempt(6000),
    params:
        held_out=EXPERIMENT.sensitivity.images,
        runtime=runtime("sensitivity"),
        code=model_code("qhyvit.cli.sensitivity"),
    shell:
        "qhyvit sensitivity --model {wildcards.model:q} --images {input.images:q}"
        " --quantized {input.quantized:q} --output {output:q} --threads {threads:q} > {log:q} 2>&1"
