# Origin of the embedded weights and images. Not part of the default run, which pulls them from DVC. The
# Makefile looks for them in the folder results, whatever the experiment calls its own.


rule fetch_cifar10:
    output:
        full=directory("results/cifar10-full"),
        sample=directory("results/cifar10-sample"),
    log:
        "logs/fetch_cifar10.log",
    resources:
        mem_mb=2000,
    params:
        code=code_fingerprint("qhyvit.data.cifar10", "qhyvit.data.cifar10_sample"),
    shell:
        "qhyvit fetch cifar10 --output {output.full:q} --sample {output.sample:q} > {log:q} 2>&1"


rule train_weights:
    input:
        rules.fetch_cifar10.output.full,
    output:
        weights="results/training/{model}.safetensors",
        report="results/training/{model}.json",
    log:
        "logs/train_weights/{model}.log",
    benchmark:
        f"{BENCHMARKS}/train_weights/{{model}}.tsv"
    threads: 2
    resources:
        mem_mb=mem_per_attempt(4000),
    params:
        network=lambda wildcards: SETTINGS.models[wildcards.model].model_dump(mode="json", include=OF_NETWORK),
        classes=EXPERIMENT.dataset.classes,
        cycles=lambda wildcards: [settings(cycle) for cycle in EXPERIMENT.training.get(wildcards.model, [])],
        runtime=runtime("train_weights", threads=2),
        code=model_code("qhyvit.cli.train"),
    shell:
        "qhyvit train --model {wildcards.model:q} --data {input:q}"
        " --output {output.weights:q} --report {output.report:q} --threads {threads:q} > {log:q} 2>&1"
