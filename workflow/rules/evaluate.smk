rule evaluate_fp32:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
    output:
        result=f"{RESULTS}/{{model}}/fp32.json",
        logits=f"{RESULTS}/{{model}}/fp32.safetensors",
    log:
        f"{LOGS}/evaluate/{{model}}-fp32.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{model}}-fp32.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        config=CONFIG,
        code=model_code("qhyvit.steps.evaluate"),
    shell:
        "qhyvit evaluate --config {params.config} --model {wildcards.model} --images {input.images}"
        " --output {output.result} --logits {output.logits} --threads {threads} > {log} 2>&1"


rule evaluate:
    input:
        images=f"{RESULTS}/images.csv",
        logits=f"{RESULTS}/{{model}}/fp32.safetensors",
        quantized=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.safetensors",
    output:
        f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.json",
    log:
        f"{LOGS}/evaluate/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        config=CONFIG,
        code=model_code("qhyvit.steps.evaluate"),
    shell:
        "qhyvit evaluate --config {params.config} --model {wildcards.model} --mode {wildcards.mode} --images {input.images}"
        " --quantized {input.quantized} --logits {input.logits} --output {output} --threads {threads} > {log} 2>&1"
