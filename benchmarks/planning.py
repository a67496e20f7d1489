"""Cost of planning: `snakemake -n` of the paper's experiment with fewer or more methods, models and seeds."""

import re
from typing import Any

import pandas as pd
import typer
import yaml
from rich.progress import track

from benchmarks.common import TARGET, WORK, measure, write_report
from qhyvit.config.loading import load_config

# Numbers of models, methods and seeds. The jobs of each follow from the rules: from about a hundred to some ten thousands.
SIZES = [(1, 5, 1), (4, 16, 1), (24, 16, 2), (24, 16, 10)]
NOTES = (
    "`snakemake -n` of `config/experiments/imagenet.yaml` with its first models and methods, and several seeds. It reads the rules, builds"
    " the graph of all jobs and lists them. Every run that starts does so once. The peak of the smallest plans is that of the process"
    " that measures them, which is larger."
)


def main(sizes: int = len(SIZES)) -> None:
    """Write reports/benchmarks/planning.{csv,md}; ``sizes`` takes only the first few."""
    rows = [plan(*size) for size in track(SIZES[:sizes], "planning")]
    table = pd.DataFrame(rows)
    write_report("planning", table, _summary(table), NOTES, ["snakemake"])


def plan(models: int, methods: int, seeds: int) -> dict[str, Any]:
    """Return the number of jobs of an experiment of that size, and the cost of planning them all."""
    experiment = load_config(TARGET, allow_unset_env=True).experiment
    changes = {"models": experiment.models[:models], "methods": experiment.methods[:methods], "seeds": list(range(seeds))}
    config, plan = (WORK / "planning" / f"{models}x{methods}x{seeds}{suffix}" for suffix in (".yaml", ".txt"))
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(yaml.safe_dump({"base": str(TARGET), **changes}))
    with plan.open("w") as stdout:
        usage = measure("-m", "snakemake", "-n", "--forceall", "--quiet", "rules", "host", "--configfile", str(config), stdout=stdout)
    totals = re.findall(r"^total +(\d+)$", plan.read_text(), flags=re.MULTILINE)
    return {
        "jobs": int(totals[0]),
        "models": models,
        "methods": methods,
        "seeds": seeds,
        "cpu_seconds": usage.cpu_seconds,
        "peak_mib": usage.peak_mib,
    }


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "jobs": table.jobs.map("{:,}".format),
            "models x methods x seeds": [f"{row.models} x {row.methods} x {row.seeds}" for row in table.itertuples()],
            "CPU-seconds": table.cpu_seconds.map("{:.1f}".format),
            "milliseconds per job": (1000 * table.cpu_seconds / table.jobs).map("{:.1f}".format),
            "peak MiB": table.peak_mib.map("{:.0f}".format),
        }
    )


if __name__ == "__main__":
    typer.run(main)
