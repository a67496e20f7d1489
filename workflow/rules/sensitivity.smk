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
        settings=settings(EXPERIMENT.sensitivity),
        runtime=runtime("sensitivity"),
        code=model_code("qhyvit.cli.sensitivity"),
    shell:
        "qhyvit sensitivity --model {wildcards.model} --images {input.images}"
        " --quantized {input.quantized} --output {output} --threads {threads} > {log} 2>&1"


rule plot_sensitivity:
    input:
        f"{RESULTS}/{{model}}/seed{EXPERIMENT.seeds[0]}/{{method}}-partial-{{bits}}.sensitivity.csv",
    output:
        svg=report(
            f"{REPORTS}/figures/sensitivity-{{model}}-{{method}}-{{bits}}.svg",
            caption="../report/sensitivity.rst",
            category="Figures",
            labels={"figure": "what single sites cost, {model}, {method} {bits}"},
        ),
        png=f"{REPORTS}/figures/sensitivity-{{model}}-{{method}}-{{bits}}.png",
    log:
        f"{LOGS}/plot/sensitivity-{{model}}-{{method}}-{{bits}}.log",
    resources:
        mem_mb=1000,
    params:
        title="{model}, {method} {bits}",
        images=EXPERIMENT.sensitivity.images,
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot sensitivity {input} --svg {output.svg} --png {output.png} --title '{params.title}' > {log} 2>&1"
