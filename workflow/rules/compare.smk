rule compare:
    input:
        results=f"{REPORTS}/results.csv",
        paper=expand("reports/paper/{table}.csv", table=["table_ii", "table_iii", "table_iv", "improvements"]),
    output:
        expand(
            f"{REPORTS}/tables/{{table}}.{{format}}",
            table=["table_ii", "table_iii", "table_iv", "improvement"],
            format=["csv", "md", "tex"],
        ),
    log:
        f"{LOGS}/compare.log",
    resources:
        mem_mb=1000,
    params:
        paper=lambda wildcards, input: os.path.dirname(input.paper[0]),
        tables=lambda wildcards, output: os.path.dirname(output[0]),
        code=code_fingerprint("qhyvit.cli.compare"),
    shell:
        "qhyvit compare {input.results} --paper {params.paper} --output {params.tables} > {log} 2>&1"


rule paired:
    input:
        f"{REPORTS}/hits.csv",
    output:
        table=f"{REPORTS}/tables/paired.csv",
        markdown=f"{REPORTS}/tables/paired.md",
    log:
        f"{LOGS}/paired.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.paired"),
    shell:
        "qhyvit paired {input} --table {output.table} --markdown {output.markdown} > {log} 2>&1"


rule ablation:
    input:
        f"{REPORTS}/hits.csv",
    output:
        table=f"{REPORTS}/tables/ablation.csv",
        markdown=f"{REPORTS}/tables/ablation.md",
    log:
        f"{LOGS}/ablation.log",
    resources:
        mem_mb=1000,
    params:
        code=code_fingerprint("qhyvit.cli.paired"),
    shell:
        "qhyvit ablation {input} --table {output.table} --markdown {output.markdown} > {log} 2>&1"
