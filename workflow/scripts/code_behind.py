"""Code behind the reports: `python -m workflow.scripts.code_behind` lists those that other code than today's has made.

A report has the fingerprints of the code of its steps in `provenance/code.csv`. Snakemake made the results by that code, or would have made
them again.
"""

from pathlib import Path

import pandas as pd

from qhyvit.config.loading import Config, load_config
from qhyvit.config.reports import MARKER
from qhyvit.errors import InputError
from workflow.scripts.fingerprint import CodeFingerprints

REPORTS = Path("reports")
CODE = Path("provenance/code.csv")
COLUMNS = ["command", "method", "code"]


def fingerprints() -> CodeFingerprints:
    """Return the fingerprints of today's code. Settings are no code: rules state those that they use."""
    return CodeFingerprints("qhyvit", by_value=["qhyvit.config", "qhyvit.reporting.registry"])


def method_modules(config: Config, method: str) -> list[str]:
    """Return the modules that compute what a method finds."""
    settings = config.methods[method]
    changes = {"qhyvit.tuning.correction": settings.correction, "qhyvit.tuning.distillation": settings.tuning}
    return [f"qhyvit.methods.{settings.algorithm}", *(module for module, stated in changes.items() if stated)]


def code_rows(config: Config, code: CodeFingerprints) -> list[list[str]]:
    """Return COLUMNS of each command that makes the results of an experiment, and of each method where it depends on that."""
    experiment = config.experiment
    modules = sorted({module for name in experiment.models if (module := config.models[name].module)})
    deployed = {"export": experiment.deployment.own_runs, "peer": experiment.deployment.peers, "execute": experiment.deployment.runs}
    further = {
        "predict": experiment.evaluation.shards > 1 or experiment.deployment.own_runs,
        "recalibrate": any(method.recalibration_key for method in config.methods.values()),
        "sensitivity": experiment.sensitivity.methods,
    }
    stated = [command for command, runs in (deployed | further).items() if runs]
    commands = sorted(["calibrate", "challenges", "evaluate", *stated])
    rows = [[command, "", code.of(f"qhyvit.cli.{command}", *modules)] for command in commands]
    for method in experiment.methods:
        rows.append(["quantize", method, code.of("qhyvit.cli.quantize", *modules, *method_modules(config, method))])
    return rows


def made_by_other_code(folder: Path, code: CodeFingerprints) -> list[str]:
    """Return the commands and methods of a report whose code was not today's, or is not stated."""
    config = load_config(Path((folder / MARKER).read_text(encoding="utf-8").strip()), allow_unset_env=True)
    now = code_rows(config, code)
    told = pd.read_csv(folder / CODE, dtype=str, keep_default_na=False).values.tolist() if (folder / CODE).is_file() else []
    return [" ".join(row[:2]).strip() for row in now if row not in told]


def main() -> None:
    """Print a line per report."""
    code = fingerprints()
    for marker in sorted(REPORTS.rglob(MARKER)):
        try:
            changed = ", ".join(made_by_other_code(marker.parent, code)) or "by the present code"
        except InputError as error:
            changed = str(error)
        print(f"{marker.parent}: {changed}")


if __name__ == "__main__":
    main()
