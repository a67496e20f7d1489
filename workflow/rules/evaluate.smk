COUNT = EXPERIMENT.evaluation.shards
# With one shard the networks are run by the jobs that evaluate them, unless others read the logits too.
SHARDS = range(1, COUNT + 1) if COUNT > 1 or EXPERIMENT.deployment.own_runs else []


RESULT = f"{RUN}.json"


# These jobs run the networks of all shards, and those below only merge the logits.
rule predict:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
        quantized=branch(
            lambda wildcards: wildcards.run != "fp32",
            then=expand(f"{RESULTS}/{{model}}/{{run}}-{{bits}}.safetensors", bits=EXPERIMENT.bits, allow_missing=True),
        ),
    output:
        temp(f"{RESULTS}/{{model}}/{{run}}.shard{{shard}}of{COUNT}.safetensors"),
    log:
        f"{LOGS}/predict/{{model}}/{{run}}-shard{{shard}}of{COUNT}.log",
    benchmark:
        f"{BENCHMARKS}/predict/{{model}}/{{run}}-shard{{shard}}of{COUNT}.tsv"
    wildcard_constraints:
        run=r"fp32|seed[^/]+/[a-z0-9-]+",
        shard=r"\d+",
    priority: EVALUATION_PRIORITY
    threads: 1
    resources:
        mem_mb=mem_per_attempt(3000),
        gpu=GPU,
    params:
        quantized=lambda wildcards, input: repeated("--quantized", input.quantized),
        runtime=runtime("predict"),
        code=model_code("qhyvit.cli.predict"),
    shell:
        "qhyvit predict --model {wildcards.model:q} --images {input.images:q}"
        " {params.quantized:q} --shard {wildcards.shard:q} --output {output:q} --threads {threads:q} > {log:q} 2>&1"


rule evaluate_fp32:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
        shards=expand(rules.predict.output, run="fp32", shard=SHARDS, allow_missing=True),
    output:
        result=f"{RESULTS}/{{model}}/fp32.json",
        logits=f"{RESULTS}/{{model}}/fp32.safetensors",
    log:
        f"{LOGS}/evaluate/{{model}}-fp32.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{model}}-fp32.tsv"
    priority: EVALUATION_PRIORITY
    threads: 1
    resources:
        mem_mb=mem_per_attempt(2000),
        gpu=0 if SHARDS else GPU,
    params:
        shards=lambda wildcards, input: repeated("--shard", input.shards),
        runtime=runtime("evaluate_fp32"),
        code=model_code("qhyvit.cli.evaluate"),
    shell:
        "qhyvit evaluate --model {wildcards.model:q} --images {input.images:q}"
        " {params.shards:q} --output {output.result:q} --logits {output.logits:q} --threads {threads:q} > {log:q} 2>&1"


# One job reads the images once for all bit-widths.
rule evaluate:
    input:
        images=f"{RESULTS}/images.csv",
        logits=f"{RESULTS}/{{model}}/fp32.safetensors",
        quantized=expand(QUANTIZED, bits=EXPERIMENT.bits, allow_missing=True),
        shards=expand(rules.predict.output, run="seed{seed}/{method}-{mode}", shard=SHARDS, allow_missing=True),
    output:
        expand(RESULT, bits=EXPERIMENT.bits, allow_missing=True),
    log:
        f"{LOGS}/evaluate/{{model}}-seed{{seed}}-{{method}}-{{mode}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{model}}-seed{{seed}}-{{method}}-{{mode}}.tsv"
    priority: EVALUATION_PRIORITY
    threads: 1
    resources:
        mem_mb=mem_per_attempt(4000),
        gpu=0 if SHARDS else GPU,
    params:
        pairs=lambda wildcards, input, output: [
            word for q, o in zip(input.quantized, output) for word in ("--quantized", q, "--output", o)
        ],
        shards=lambda wildcards, input: repeated("--shard", input.shards),
        runtime=runtime("evaluate"),
        code=model_code("qhyvit.cli.evaluate"),
    shell:
        "qhyvit evaluate --model {wildcards.model:q} --images {input.images:q} {params.shards:q}"
        " --logits {input.logits:q} {params.pairs:q} --threads {threads:q} > {log:q} 2>&1"
