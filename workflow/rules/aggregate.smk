RESULT_FIGURES = {
    "accuracy": "accuracy by bit-width and method",
    "drops": "drop of each method",
    "seeds": "spread over seeds",
    "ablation": "what each step of the search adds",
}


rule aggregate:
    input:
        images=f"{RESULTS}/images.csv",
        fp32=expand(f"{RESULTS}/{{model}}/fp32.json", model=EXPERIMENT.models),
        quantized=expand_runs(f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.json"),
    output:
        results=f"{REPORTS}/results.csv",
        hits=f"{REPORTS}/hits.csv",
        metrics=f"{REPORTS}/metrics.json",
        markdown=f"{REPORTS}/tables/accuracy.md",
        table=f"{REPORTS}/tables/accuracy.csv",
    log:
        f"{LOGS}/aggregate.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.aggregate"),
    shell:
        "qhyvit aggregate {input.fp32} {input.quantized} --images {input.images} --output {output.results}"
        " --hits {output.hits} --metrics {output.metrics} --table {output.table} --markdown {output.markdown} > {log} 2>&1"


rule seeds:
    input:
        f"{REPORTS}/results.csv",
    output:
        table=f"{REPORTS}/tables/seeds.csv",
        markdown=f"{REPORTS}/tables/seeds.md",
    log:
        f"{LOGS}/seeds.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.seeds"),
    shell:
        "qhyvit seeds {input} --table {output.table} --markdown {output.markdown} > {log} 2>&1"


rule plot_results:
    input:
        f"{REPORTS}/results.csv",
    output:
        svg=report(
            f"{REPORTS}/figures/{{figure}}-{{mode}}.svg",
            caption="../report/caption.rst",
            category="Figures",
            labels=lambda wildcards: {"figure": f"{RESULT_FIGURES[wildcards.figure]}, {wildcards.mode} quantization"},
        ),
        png=f"{REPORTS}/figures/{{figure}}-{{mode}}.png",
    log:
        f"{LOGS}/plot/{{figure}}-{{mode}}.log",
    wildcard_constraints:
        figure="|".join(RESULT_FIGURES),
    resources:
        mem_mb=1000,
    params:
        caption=lambda wildcards: report_text(f"{wildcards.figure}_figure"),
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot {wildcards.figure} {input} --mode {wildcards.mode} --svg {output.svg} --png {output.png} > {log} 2>&1"


rule plot_site_errors:
    input:
        lambda wildcards: [
            path
            for path in expand_runs(f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.sites.csv")
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
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot site-errors {input} --svg {output.svg} --png {output.png} > {log} 2>&1"
