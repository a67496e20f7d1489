rule export:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
        quantized=EXPORTABLE,
    output:
        model=f"{DEPLOYED}.xml",
        weights=f"{DEPLOYED}.bin",
        checks=f"{DEPLOYED}-openvino-sites.csv",
    log:
        f"{LOGS}/export/{{model}}-seed{{seed}}-{{method}}-{{bits}}-openvino.log",
    benchmark:
        f"{BENCHMARKS}/export/{{model}}-seed{{seed}}-{{method}}-{{bits}}-openvino.tsv"
    threads: 1
    resources:
        mem_mb=mem_per_attempt(4000),
    params:
        runtime=runtime("export"),
        engines=engines(),
        code=model_code("qhyvit.cli.export"),
    shell:
        "qhyvit export --model {wildcards.model:q} --quantized {input.quantized:q} --images {input.images:q}"
        " --output {output.model:q} --checks {output.checks:q} --threads {threads:q} > {log:q} 2>&1"


use rule export as export_onnx with:
    output:
        model=f"{DEPLOYED}.onnx",
        checks=f"{DEPLOYED}-onnx-sites.csv",
    log:
        f"{LOGS}/export/{{model}}-seed{{seed}}-{{method}}-{{bits}}-onnx.log",
    benchmark:
        f"{BENCHMARKS}/export/{{model}}-seed{{seed}}-{{method}}-{{bits}}-onnx.tsv"
    params:
        runtime=runtime("export_onnx"),


rule quantize_peer:
    input:
        images=f"{RESULTS}/images.csv",
        weights=f"{RESULTS}/{{model}}/weights.json",
    output:
        model=f"{DEPLOYED}.xml",
        weights=f"{DEPLOYED}.bin",
    log:
        f"{LOGS}/quantize_peer/{{model}}-seed{{seed}}-{{method}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize_peer/{{model}}-seed{{seed}}-{{method}}-{{bits}}.tsv"
    wildcard_constraints:
        method=either(peer for peer in PEERS if PEER_FORMATS[peer] == "openvino"),
        bits=PEER_BITS,
    threads: 1
    resources:
        mem_mb=mem_per_attempt(4000),
    params:
        images=EXPERIMENT.calibration.images,
        runtime=runtime(),
        engines=engines(),
        code=model_code("qhyvit.cli.peer"),
    shell:
        "qhyvit peer --model {wildcards.model:q} --peer {wildcards.method:q} --seed {wildcards.seed:q}"
        " --images {input.images:q} --output {output.model:q} > {log:q} 2>&1"


use rule quantize_peer as quantize_peer_onnx with:
    output:
        model=f"{DEPLOYED}.onnx",
    log:
        f"{LOGS}/quantize_peer/{{model}}-seed{{seed}}-{{method}}-{{bits}}-onnx.log",
    benchmark:
        f"{BENCHMARKS}/quantize_peer/{{model}}-seed{{seed}}-{{method}}-{{bits}}-onnx.tsv"
    wildcard_constraints:
        method=either(peer for peer in PEERS if PEER_FORMATS[peer] == "onnx"),
        bits=PEER_BITS,


# The simulation that an exported model is compared with was run by `predict`, for all bit-widths of the method.
rule run_exported:
    input:
        images=f"{RESULTS}/images.csv",
        logits=f"{RESULTS}/{{model}}/fp32.safetensors",
        exported=lambda wildcards: f"{DEPLOYED}.{FORMAT_FILES[wildcards.format][0]}",
        weights=lambda wildcards: [f"{DEPLOYED}.{suffix}" for suffix in FORMAT_FILES[wildcards.format][1:]],
        checks=branch(of_peer, then=[], otherwise=f"{DEPLOYED}-{{format}}-sites.csv"),
        quantized=branch(of_peer, then=[], otherwise=expand(EXPORTABLE, bits=EXPERIMENT.bits, allow_missing=True)),
        shards=branch(
            of_peer,
            then=[],
            otherwise=expand(
                rules.predict.output, run="seed{seed}/{method}-partial", shard=range(1, COUNT + 1), allow_missing=True
            ),
        ),
    output:
        f"{DEPLOYED}-{{format}}.json",
    log:
        f"{LOGS}/run_exported/{{model}}-seed{{seed}}-{{method}}-{{bits}}-{{format}}.log",
    benchmark:
        f"{BENCHMARKS}/run_exported/{{model}}-seed{{seed}}-{{method}}-{{bits}}-{{format}}.tsv"
    wildcard_constraints:
        method=either([*EXPERIMENT.methods, *PEERS]),
        bits=either([*EXPERIMENT.bits, PEER_BITS]),
        format=either(FORMAT_FILES),
    threads: 1
    resources:
        mem_mb=mem_per_attempt(3000),
    params:
        simulated=lambda wildcards, input: (
            [] if of_peer(wildcards) else ["--simulated", EXPORTABLE.format(**wildcards), "--checks", input.checks]
        ),
        quantized=lambda wildcards, input: repeated("--quantized", input.quantized),
        shards=lambda wildcards, input: repeated("--shard", input.shards),
        runtime=runtime(),
        engines=engines(),
        code=model_code("qhyvit.cli.execute"),
    shell:
        "qhyvit execute --model {wildcards.model:q} --method {wildcards.method:q} --bits {wildcards.bits:q} --seed {wildcards.seed:q}"
        " --images {input.images:q} --exported {input.exported:q} --logits {input.logits:q} {params.simulated:q}"
        " {params.quantized:q} {params.shards:q} --output {output:q} > {log:q} 2>&1"
