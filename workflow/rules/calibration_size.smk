SIZED_SEEDS = [f"{seed}-{count}images" for count in EXPERIMENT.calibration_sizes for seed in EXPERIMENT.seeds]


rule calibration_size:
    input:
        fp32=rules.aggregate.input.fp32,
        quantized=rules.aggregate.input.quantized,
        resized=expand_runs(f"{RESULTS}/{{model}}/seed{{seed}}/{{method}}-{{mode}}-{{bits}}.json", SIZED_SEEDS),
    output:
        table=f"{REPORTS}/calibration_size.csv",
        svg=report(
            f"{REPORTS}/figures/calibration_size.svg",
            caption="../report/calibration_size.rst",
            category="Figures",
            labels={"figure": "drop by number of calibration images"},
        ),
        png=f"{REPORTS}/figures/calibration_size.png",
    log:
        f"{LOGS}/calibration_size.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.calibration_size"),
    shell:
        "qhyvit calibration-size {input.fp32} {input.quantized} {input.resized} --output {output.table}"
        " --svg {output.svg} --png {output.png} > {log} 2>&1"
