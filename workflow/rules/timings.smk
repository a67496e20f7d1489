# Benchmark files are no inputs: Snakemake writes them beside the outputs of a job and does not track them. Where the results are, they
# are; what differs from run to run is kept apart from what does not.
rule timings:
    input:
        results=f"{REPORTS}/results.csv",
        paper="reports/paper/fig_9.csv",
    output:
        seconds=f"{REPORTS}/timings/timings.csv",
        tables=expand(f"{REPORTS}/timings/running_time.{{format}}", format=["csv", "md", "tex"]),
    log:
        f"{LOGS}/timings.log",
    resources:
        mem_mb=1000,
    params:
        benchmarks=BENCHMARKS,
        paper=lambda wildcards, input: os.path.dirname(input.paper),
        folder=lambda wildcards, output: os.path.dirname(output.seconds),
        code=code_fingerprint("qhyvit.cli.timings"),
    shell:
        "qhyvit timings {input.results} --benchmarks {params.benchmarks} --paper {params.paper} --output {params.folder}"
        " > {log} 2>&1"


rule plot_timings:
    input:
        results=f"{REPORTS}/results.csv",
        seconds=rules.timings.output.seconds,
    output:
        svg=report(
            f"{REPORTS}/timings/drop_against_seconds-{{mode}}.svg",
            caption="../report/timing_figure.rst",
            category="Timings",
            labels={"result": "drop against time, {mode} quantization"},
        ),
        png=f"{REPORTS}/timings/drop_against_seconds-{{mode}}.png",
    log:
        f"{LOGS}/plot/drop_against_seconds-{{mode}}.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.plot"),
    shell:
        "qhyvit plot timings {input.results} --seconds {input.seconds} --mode {wildcards.mode}"
        " --svg {output.svg} --png {output.png} > {log} 2>&1"
