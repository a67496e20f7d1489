RUN = f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}"
QUANTIZED = f"{RUN}.safetensors"
SITE_ERRORS = f"{RUN}.sites.csv"


# Full mode keeps the operands' quantizers of partial mode, which are searched once.
rule quantize_baseline:
    input:
        images=f"{RESULTS}/images.csv",
        calibration=rules.calibrate.output,
        recalibration=recalibration,
        partial=branch(
            lambda wildcards: wildcards.mode == "full",
            then=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-partial-{{bits}}.safetensors",
        ),
    output:
        quantized=QUANTIZED,
        errors=SITE_ERRORS,
    log:
        f"{LOGS}/quantize/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.tsv"
    wildcard_constraints:
        method=either(name for name in SETTINGS.methods if not reconstructs(name)),
    priority: SEARCH_PRIORITY
    threads: 1
    resources:
        mem_mb=quantize_mem_mb,
    params:
        recalibration=lambda wildcards, input: ["--recalibration", input.recalibration] if input.recalibration else [],
        partial=lambda wildcards, input: ["--partial", input.partial] if input.partial else [],
        settings=lambda wildcards: SETTINGS.methods[wildcards.method].quantizer_settings,
        runtime=runtime("quantize_baseline"),
        code=model_code("qhyvit.cli.quantize"),
        method_code=lambda wildcards: code_fingerprint(*method_modules(SETTINGS, wildcards.method)),
    shell:
        "qhyvit quantize --model {wildcards.model:q} --method {wildcards.method:q} --mode {wildcards.mode:q}"
        " --bits {wildcards.bits:q} --images {input.images:q} --calibration {input.calibration:q} {params.recalibration:q}"
        " {params.partial:q} --output {output.quantized:q} --errors {output.errors:q} --threads {threads:q} > {log:q} 2>&1"


# Q-HyViT: the same command, which reconstructs bridge blocks too.
use rule quantize_baseline as reconstruct with:
    wildcard_constraints:
        method=either(name for name in SETTINGS.methods if reconstructs(name)),
    params:
        runtime=runtime("reconstruct"),
