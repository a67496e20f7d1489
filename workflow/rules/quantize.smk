rule quantize:
    input:
        calibration=rules.calibrate.output.sites,
        blocks=lambda wildcards: rules.calibrate.output.blocks if algorithm(wildcards) == "qhyvit" else [],
    output:
        quantized=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.safetensors",
        errors=f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.sites.csv",
    log:
        f"{LOGS}/quantize/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.log",
    benchmark:
        f"{BENCHMARKS}/quantize/{{model}}-seed{{seed}}-{{method}}-{{mode}}-{{bits}}.tsv"
    threads: 1
    resources:
        mem_mb=2000,
    params:
        config=CONFIG,
        settings=lambda wildcards: settings(SETTINGS.methods[wildcards.method]),
        code=model_code("qhyvit.steps.quantize"),
        method_code=lambda wildcards: code(f"qhyvit.methods.{algorithm(wildcards)}"),
        blocks=lambda wildcards, input: f"--blocks {input.blocks}" if input.blocks else "",
    shell:
        "qhyvit quantize --config {params.config} --model {wildcards.model} --method {wildcards.method} --bits {wildcards.bits}"
        " --calibration {input.calibration} {params.blocks} --output {output.quantized} --errors {output.errors} --threads {threads} > {log} 2>&1"
