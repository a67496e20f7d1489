rule compare:
    input:
        results=f"{REPORTS}/results.csv",
        paper=expand("reports/paper/{table}.csv", table=["table_ii", "table_iii", "table_iv", "improvements"]),
    output:
        expand(
            f"{REPORTS}/tables/{{table}}.{{format}}",
            table=["table_ii", "table_iii", "table_iv", "improvement"],
            format=["md", "tex"],
        ),
        report(
            f"{REPORTS}/tables/table_ii.csv",
            caption="../report/table_ii.rst",
            category="Tables",
            labels={"table": "beside the paper's Table II (partial quantization)", "format": "CSV"},
        ),
        report(
            f"{REPORTS}/tables/table_iii.csv",
            caption="../report/table_iii.rst",
            category="Tables",
            labels={"table": "beside the paper's Table III (full quantization)", "format": "CSV"},
        ),
        report(
            f"{REPORTS}/tables/table_iv.csv",
            caption="../report/table_iv.rst",
            category="Tables",
            labels={"table": "beside the paper's Table IV (ablation)", "format": "CSV"},
        ),
        report(
            f"{REPORTS}/tables/improvement.csv",
            caption="../report/improvement.rst",
            category="Tables",
            labels={"table": "mean improvement over each baseline", "format": "CSV"},
        ),
    log:
        f"{LOGS}/compare.log",
    resources:
        mem_mb=1000,
    params:
        paper=lambda wildcards, input: os.path.dirname(input.paper[0]),
        tables=lambda wildcards, output: os.path.dirname(output[0]),
        code=code("qhyvit.steps.compare"),
    shell:
        "qhyvit compare {input.results} --paper {params.paper} --output {params.tables} > {log} 2>&1"
