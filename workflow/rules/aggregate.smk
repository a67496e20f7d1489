# Git may replace results.csv by a committed one, with a newer time stamp. Its state is a param, as that of data (fetch.smk).
STAMPS = f"{RESULTS}/reports-{sha256(REPORTS.encode()).hexdigest()[:16]}.stamps.csv"


rule aggregate:
    input:
        images=f"{RESULTS}/images.csv",
        fp32=expand(rules.evaluate_fp32.output.result, model=EXPERIMENT.models),
        quantized=expand_runs(RESULT),
    output:
        results=f"{REPORTS}/results.csv",
        correct=f"{REPORTS}/correct.csv",
        metrics=f"{REPORTS}/metrics.json",
    log:
        f"{LOGS}/aggregate.log",
    group:
        "tables"
    resources:
        mem_mb=mem_per_attempt(1000),
    params:
        folder=lambda wildcards, output: os.path.dirname(output.results),
        methods=METHODS,
        stamps=STAMPS,
        state=lambda wildcards: state_of(STAMPS, Path(REPORTS, "results.csv"), "made"),
        code=code_fingerprint("qhyvit.cli.aggregate"),
    shell:
        "qhyvit aggregate {input.fp32:q} {input.quantized:q} --images {input.images:q} --output {params.folder:q}"
        " --stamps {params.stamps:q} --state {params.state:q} > {log:q} 2>&1"


# Fingerprints of the code behind the results, by which a later reader sees if it has changed since.
rule table_code:
    input:
        rules.aggregate.output.results,
    output:
        f"{REPORTS}/provenance/code.csv",
    log:
        f"{LOGS}/table/code.log",
    group:
        "tables"
    resources:
        mem_mb=mem_per_attempt(1000),
    params:
        rows=[",".join(row) for row in [CODE_COLUMNS, *code_rows(SETTINGS, CODE)]],
    shell:
        "printf '%s\\n' {params.rows:q} > {output:q}.new 2> {log:q} && mv {output:q}.new {output:q}"
