# The tables of the HTML report: for each caption in workflow/report, the table, its group and its title.
PAGES = {
    "accuracy_table": (f"{REPORTS}/tables/accuracy.csv", "Tables", "accuracy by method and bit-width"),
    "results": (f"{REPORTS}/results.csv", "Tables", "all results"),
    "table_ii": (f"{REPORTS}/tables/table_ii.csv", "Tables", "beside the paper's Table II (partial quantization)"),
    "table_iii": (f"{REPORTS}/tables/table_iii.csv", "Tables", "beside the paper's Table III (full quantization)"),
    "table_iv": (f"{REPORTS}/tables/table_iv.csv", "Tables", "beside the paper's Table IV (ablation)"),
    "improvement": (f"{REPORTS}/tables/improvement.csv", "Tables", "mean improvement over each baseline"),
    "paired": (f"{REPORTS}/tables/paired.csv", "Tables", "Q-HyViT against every other method, image by image"),
    "seeds": (f"{REPORTS}/tables/seeds.csv", "Tables", "spread over seeds"),
    "challenge_table": (f"{REPORTS}/tables/challenges.csv", "Challenges", "challenges by model"),
    "challenges": (f"{REPORTS}/challenges.csv", "Challenges", "ranges and zero-point overflow by site"),
    "running_time": (f"{REPORTS}/timings/running_time.csv", "Timings", "running time"),
    "configuration": (f"{REPORTS}/provenance/configuration.csv", "Provenance", "settings and software"),
    "runs": (f"{REPORTS}/provenance/runs.csv", "Provenance", "origin of each quantized network"),
}

if any(ablated(mode) for mode in modes()):
    PAGES["ablation"] = (f"{REPORTS}/tables/ablation.csv", "Tables", "what each step of Q-HyViT adds, image by image")
if EXPERIMENT.calibration_sizes:
    PAGES["calibration_size"] = (f"{REPORTS}/calibration_size.csv", "Tables", "drop by number of calibration images")


rule provenance:
    input:
        expand_runs(rules.quantize.output.quantized),
    output:
        configuration=f"{REPORTS}/provenance/configuration.csv",
        runs=f"{REPORTS}/provenance/runs.csv",
    log:
        f"{LOGS}/provenance.log",
    resources:
        mem_mb=1000,
    params:
        settings=settings(SETTINGS),
        code=code_fingerprint("qhyvit.cli.provenance"),
    shell:
        "qhyvit provenance {input} --configuration {output.configuration} --runs {output.runs}" " > {log} 2>&1"


rule pages:
    input:
        [table for table, _, _ in PAGES.values()],
    output:
        *[
            report(
                f"{REPORTS}/pages/{caption}.html",
                caption=f"../report/{caption}.rst",
                category=group,
                labels={"result": title},
            )
            for caption, (_, group, title) in PAGES.items()
        ],
    log:
        f"{LOGS}/pages.log",
    resources:
        mem_mb=1000,
    params:
        pages=lambda wildcards, output: [
            argument
            for page, (caption, (_, _, title)) in zip(output, PAGES.items())
            for argument in ("--title", title, "--caption", report_text(caption), "--output", page)
        ],
        code=code_fingerprint("qhyvit.cli.pages"),
    shell:
        "qhyvit pages {input} {params.pages:q} > {log} 2>&1"
