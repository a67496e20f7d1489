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


# One job reads the images once for all bit-widths.
rule evaluate:
    input:
        images=f"{RESULTS}/images.csv",
        logits=f"{RESULTS}/{{model}}/fp32.safetensors",
        quantized=expand(rules.quantize.output.quantized, bits=EXPERIMENT.bits, allow_missing=True),
    output:
        expand(
            f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.json",
            bits=EXPERIMENT.bits,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/evaluate/{{model}}-seed{{seed}}-{{method}}-{{mode}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{model}}-seed{{seed}}-{{method}}-{{mode}}.tsv"
    threads: 1
    resources:
        mem_mb=3000,
    params:
        config=CONFIG,
        pairs=lambda wildcards, input, output: [
            f"--quantized {q} --output {o}" for q, o in zip(input.quantized, output)
        ],
        code=model_code("qhyvit.steps.evaluate"),
    shell:
        "qhyvit evaluate --config {params.config} --model {wildcards.model} --images {input.images}"
        " --logits {input.logits} {params.pairs} --threads {threads} > {log} 2>&1"
