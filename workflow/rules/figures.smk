def figure_options(figure):
    """Return the name of a figure and the options that depend on its wildcards."""
    mode = ["--mode", "{mode}"] if "mode" in figure.per else []
    title = ["--title", figure.heading] if figure.heading else []
    return [figure.name, *mode, *title]


def caption(entry):
    """Return a param: the caption in the HTML report. It is a function of outputs, so that a new caption reruns nothing."""
    return lambda wildcards, output: entry.caption.format(**wildcards)


for FIGURE in EXPERIMENT_FIGURES:

    rule:
        name:
            f"figure_{FIGURE.name}"
        input:
            **sources(FIGURE, ["{model}"] if "model" in FIGURE.per else EXPERIMENT.models),
        output:
            svg=report(
                f"{REPORTS}/{FIGURE.path}.svg",
                caption="../report/caption.rst",
                category=FIGURE.category,
                labels={"result": FIGURE.title},
            ),
            png=f"{REPORTS}/{FIGURE.path}.png",
        log:
            f"{LOGS}/figure/{FIGURE.path}.log",
        group:
            "figures"
        resources:
            mem_mb=mem_per_attempt(1000),
        params:
            figure=figure_options(FIGURE),
            inputs=input_options(FIGURE),
            caption=caption(FIGURE),
            methods=METHODS,
            code=code_fingerprint("qhyvit.cli.figure", FIGURE.module),
        shell:
            "qhyvit figure {params.figure:q} {params.inputs:q} --svg {output.svg:q} --png {output.png:q} > {log:q} 2>&1"
