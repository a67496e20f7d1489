"""Reports tell the code behind them, so that a later reader sees if it has changed since."""


def code_behind(project):
    return project.run("-m", "workflow.scripts.code_behind").stdout


def test_report_is_by_the_present_code_until_that_changes(copy):
    assert code_behind(copy) == "reports: by the present code\n"
    for name, behind in (("methods/qhyvit", "quantize qhyvit"), ("cli/evaluate", "evaluate, quantize qhyvit")):
        with (copy.root / f"src/qhyvit/{name}.py").open("a") as file:
            file.write("EDITED = 1\n")
        assert code_behind(copy) == f"reports: {behind}\n"


def test_report_that_tells_no_code_is_by_other_code(copy):
    (copy.root / "reports/provenance/code.csv").unlink()
    assert code_behind(copy) == "reports: calibrate, challenges, evaluate, recalibrate, quantize minmax, quantize qhyvit\n"
