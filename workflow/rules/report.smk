# Tables of the HTML report, on one page, where they sort and filter, each with its caption.
TABLES_SHOWN = {"results": (RESULTS_PAGE, rules.aggregate.output.results)} | {
    table.name: (table, f"{REPORTS}/{table.path}.csv") for table in EXPERIMENT_TABLES
}

# The first page shows the accuracies, the committed verdicts on the paper's claims, and the first of these figures that the experiment has: all
# have the last.
HEADLINE = next(
    figure for name in ("claims", "drops", "bridge_sites") for figure in EXPERIMENT_FIGURES if figure.name == name
)
config["headline"] = {
    "figure": f"{REPORTS}/{HEADLINE.path}.svg".format(**HEADLINE.instances(SETTINGS)[0]),
    "caption": HEADLINE.caption,
    "table": f"{REPORTS}/{TABLES['accuracy'].path}.csv",
    "claims": [str(path) for path in [Path("reports/claims.csv")] if path.is_file()],
}


rule report:
    input:
        [path for _, path in TABLES_SHOWN.values()],
    output:
        report(
            f"{REPORTS}/pages/tables.html",
            caption="../report/page.rst",
            category="Tables",
            labels={"result": "all tables"},
        ),
    log:
        f"{LOGS}/report.log",
    group:
        "tables"
    resources:
        mem_mb=mem_per_attempt(1000),
    params:
        tables=[f"{name}={path}" for name, (_, path) in TABLES_SHOWN.items()],
        texts=[(entry.title, entry.caption) for entry, _ in TABLES_SHOWN.values()],
        code=code_fingerprint("qhyvit.cli.report"),
    shell:
        "qhyvit report {params.tables:q} --output {output:q} > {log:q} 2>&1"
