CHALLENGES = f"{RESULTS}/{{model}}/seed{{seed}}/challenges"


rule challenges:
    input:
        f"{RESULTS}/{{model}}/seed{{seed}}/calibration.safetensors",
    output:
        activations=f"{CHALLENGES}/challenges.csv",
        channels=f"{CHALLENGES}/channel_ranges.csv",
        norms=f"{CHALLENGES}/norms.csv",
        summary=f"{CHALLENGES}/model.json",
    log:
        f"{LOGS}/challenges/{{model}}-seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/challenges/{{model}}-seed{{seed}}.tsv"
    threads: 1
    resources:
        mem_mb=mem_per_attempt(3000),
    params:
        settings=lambda wildcards: [settings(EXPERIMENT.dataset), settings(SETTINGS.models[wildcards.model])],
        code=model_code("qhyvit.cli.challenges"),
    shell:
        "qhyvit challenges --model {wildcards.model} --calibration {input}"
        " --output {output.activations} --channels {output.channels} --norms {output.norms} --summary {output.summary}"
        " --threads {threads} > {log} 2>&1"


rule aggregate_challenges:
    input:
        activations=expand(rules.challenges.output.activations, model=EXPERIMENT.models, seed=EXPERIMENT.seeds[0]),
        summaries=expand(rules.challenges.output.summary, model=EXPERIMENT.models, seed=EXPERIMENT.seeds[0]),
    output:
        activations=f"{REPORTS}/challenges.csv",
        markdown=f"{REPORTS}/tables/challenges.md",
        table=f"{REPORTS}/tables/challenges.csv",
    log:
        f"{LOGS}/aggregate_challenges.log",
    resources:
        mem_mb=1000,
    params:
        summaries=lambda wildcards, input: [f"--summary {path}" for path in input.summaries],
        code=code_fingerprint("qhyvit.cli.aggregate_challenges"),
    shell:
        "qhyvit aggregate-challenges {input.activations} {params.summaries} --output {output.activations}"
        " --table {output.table} --markdown {output.markdown} > {log} 2>&1"


rule plot_channel_ranges:
    input:
        expand(rules.challenges.output.channels, seed=EXPERIMENT.seeds[0], allow_missing=True),
    output:
        svg=report(
            f"{REPORTS}/figures/channel_ranges-{{model}}.svg",
            caption="../report/channel_ranges.rst",
            category="Challenges",
            labels={"result": "channel ranges by site, {model}"},
        ),
        png=f"{REPORTS}/figures/channel_ranges-{{model}}.png",
    log:
        f"{LOGS}/plot/channel_ranges-{{model}}.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot channel-ranges {input} --svg {output.svg} --png {output.png} > {log} 2>&1"


rule plot_zero_point_overflow:
    input:
        f"{REPORTS}/challenges.csv",
    output:
        svg=report(
            f"{REPORTS}/figures/zero_point_overflow.svg",
            caption="../report/zero_point_overflow.rst",
            category="Challenges",
            labels={"result": "zero-point overflow by site"},
        ),
        png=f"{REPORTS}/figures/zero_point_overflow.png",
    log:
        f"{LOGS}/plot/zero_point_overflow.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot zero-point-overflow {input} --svg {output.svg} --png {output.png} > {log} 2>&1"


rule plot_bridge_sites:
    input:
        channels=expand(rules.challenges.output.channels, model=EXPERIMENT.models, seed=EXPERIMENT.seeds[0]),
        activations=f"{REPORTS}/challenges.csv",
    output:
        svg=report(
            f"{REPORTS}/figures/bridge_sites.svg",
            caption="../report/bridge_sites.rst",
            category="Challenges",
            labels={"result": "channel ranges and overflow at bridge sites against others"},
        ),
        png=f"{REPORTS}/figures/bridge_sites.png",
    log:
        f"{LOGS}/plot/bridge_sites.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot bridge-sites {input.channels} --activations {input.activations}"
        " --svg {output.svg} --png {output.png} > {log} 2>&1"
