# Tables of the HTML report as pages that sort and filter, each with its caption.
PAGES = {"results": (RESULTS_PAGE, rules.aggregate.output.results)} | {
    table.name: (table, f"{REPORTS}/{table.path}.csv") for table in EXPERIMENT_TABLES
}

# The first page shows a table and the first of these figures that the experiment has: all have the last.
HEADLINE = next(
    figure for name in ("claims", "drops", "bridge_sites") for figure in EXPERIMENT_FIGURES if figure.name == name
)
config["headline"] = {
    "figure": f"{REPORTS}/{HEADLINE.path}.svg".format(**HEADLINE.instances(SETTINGS)[0]),
    "caption": HEADLINE.caption,
    "table": f"{REPORTS}/{TABLES['accuracy'].path}.csv",
}


rule report:
    input:
        [path for _, path in PAGES.values()],
    output:
        *[
            report(
                f"{REPORTS}/pages/{name}.html",
                caption="../report/page.rst",
                category=entry.category,
                labels={"result": entry.title},
            )
            for name, (entry, _) in PAGES.items()
        ],
    log:
        f"{LOGS}/report.log",
    group:
        "tables"
    resources:
        mem_mb=1000,
    params:
        folder=lambda wildcards, output: os.path.dirname(output[0]),
        tables=[f"{name}={path}" for name, (_, path) in PAGES.items()],
        texts=[(entry.title, entry.caption) for entry, _ in PAGES.values()],
        code=code_fingerprint("qhyvit.cli.report"),
    shell:
        "qhyvit report {params.tables:q} --output {params.folder:q} > {log:q} 2>&1"
