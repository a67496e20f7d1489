rule aggregate:
    input:
        images=f"{RESULTS}/images.csv",
        fp32=expand(f"{RESULTS}/{{model}}/fp32.json", model=EXPERIMENT.models),
        quantized=runs(f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.json"),
    output:
        results=report(
            f"{REPORTS}/results.csv",
            caption="../report/results.rst",
            category="Tables",
            labels={"table": "all results", "format": "CSV"},
        ),
        hits=f"{REPORTS}/hits.csv",
        metrics=f"{REPORTS}/metrics.json",
        markdown=f"{REPORTS}/tables/accuracy.md",
        table=report(
            f"{REPORTS}/tables/accuracy.csv",
            caption="../report/accuracy_table.rst",
            category="Tables",
            labels={"table": "accuracy by method and bit-width", "format": "CSV"},
        ),
    log:
        f"{LOGS}/aggregate.log",
    resources:
        mem_mb=1000,
    params:
        code=code("qhyvit.steps.aggregate"),
    shell:
        "qhyvit aggregate {input.fp32} {input.quantized} --images {input.images} --output {output.results}"
        " --hits {output.hits} --metrics {output.metrics} --table {output.table} --markdown {output.markdown} > {log} 2>&1"


rule plot_accuracy:
    input:
        f"{REPORTS}/results.csv",
    output:
        svg=report(
            f"{REPORTS}/figures/accuracy.svg",
            caption="../report/accuracy_figure.rst",
            category="Figures",
            labels={"figure": "accuracy by method and bit-width"},
        ),
        png=f"{REPORTS}/figures/accuracy.png",
    log:
        f"{LOGS}/plot/accuracy.log",
    resources:
        mem_mb=1000,
    params:
        code=code("qhyvit.steps.plot"),
    shell:
        "qhyvit plot accuracy {input} --svg {output.svg} --png {output.png} > {log} 2>&1"


rule plot_site_errors:
    input:
        lambda wildcards: [
            path
            for path in runs(f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.sites.csv")
            if f"/{wildcards.model}/seed{EXPERIMENT.seeds[0]}/" in path
        ],
    output:
        svg=report(
            f"{REPORTS}/figures/site_errors-{{model}}.svg",
            caption="../report/site_errors.rst",
            category="Figures",
            labels={"figure": "quantization error by site, {model}"},
        ),
        png=f"{REPORTS}/figures/site_errors-{{model}}.png",
    log:
        f"{LOGS}/plot/site_errors-{{model}}.log",
    resources:
        mem_mb=1000,
    params:
        code=code("qhyvit.steps.plot"),
    shell:
        "qhyvit plot site-errors {input} --svg {output.svg} --png {output.png} > {log} 2>&1"
