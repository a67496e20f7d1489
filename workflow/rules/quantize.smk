# What full mode rounds beside the operands does not change these: they are those of partial mode, and searched once.
rule quantize:
    input:
        images=f"{RESULTS}/images.csv",
        calibration=rules.calibrate.output,
        partial=branch(
            lambda wildcards: wildcards.mode == "full",
            then=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-partial-{{bits}}.safetensors",
        ),
    output:
        quantized=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.safetensors",
        errors=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.sites.csv",
    log:
        f"{LOGS}/quantize/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.tsv"
    threads: 1
    resources:
        mem_mb=mem_per_attempt(2000),
    params:
        partial=lambda wildcards, input: f"--partial {input.partial}" if input.partial else "",
        settings=lambda wildcards: SETTINGS.methods[wildcards.method].quantizer_settings,
        runtime=runtime("quantize"),
        code=model_code("qhyvit.cli.quantize"),
        method_code=lambda wildcards: code_fingerprint(f"qhyvit.methods.{SETTINGS.methods[wildcards.method].algorithm}"),
    shell:
        "qhyvit quantize --model {wildcards.model} --method {wildcards.method} --mode {wildcards.mode}"
        " --bits {wildcards.bits} --images {input.images} --calibration {input.calibration} {params.partial} --output {output.quantized} --errors {output.errors} --threads {threads} > {log} 2>&1"
