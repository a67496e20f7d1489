CHALLENGES = f"{RESULTS}/{{model}}/seed{{seed}}/challenges"


rule challenges:
    input:
        f"{RESULTS}/{{model}}/seed{{seed}}/calibration.safetensors",
    output:
        activations=f"{CHALLENGES}/challenges.csv",
        channels=f"{CHALLENGES}/channel_ranges.csv",
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
        "qhyvit challenges --model {wildcards.model:q} --calibration {input:q}"
        " --output {output.activations:q} --channels {output.channels:q} --summary {output.summary:q}"
        " --threads {threads:q} > {log:q} 2>&1"
