"""Errors of a quantized network, site by site."""

import pandas as pd

from qhyvit.methods.task import Task
from qhyvit.quantizers.base import Quantizers
from qhyvit.search.alternating import reconstruction_error


def site_errors(task: Task, quantizers: Quantizers) -> pd.DataFrame:
    """Tabulate per site the quantizers of both operands and the Fisher-weighted squared error, also relative to the output's energy."""
    rows = []
    for site in task.model.sites:
        problem = task.problem(site)
        energy = float((problem.reference * problem.gradient).square().sum())
        error = reconstruction_error(problem, quantizers[site.name])
        chosen = [quantizer.describe() for quantizer in quantizers[site.name].values()]
        rows.append((site.name, site.kind, site.groups, *chosen, error, error / energy if energy else 0.0))
    return pd.DataFrame(rows, columns=["site", "kind", "groups", "first_operand", "second_operand", "error", "relative_error"])
