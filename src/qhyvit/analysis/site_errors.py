"""Errors of a quantized network, site by site."""

import pandas as pd

from qhyvit.graph.sites import site_weight
from qhyvit.methods.task import Task
from qhyvit.quantizers.base import NO_PARAMETERS, Parameters, Quantizers
from qhyvit.search.alternating import reconstruction_error


def site_errors(task: Task, quantizers: Quantizers, changed: Parameters = NO_PARAMETERS) -> pd.DataFrame:
    """Tabulate per site the quantizers of both operands and the Fisher-weighted squared error, also relative to the weighted energy.

    ``changed`` weights are compared with the original ones; the bias is not part of the error.
    """
    rows = []
    tuned = task.model.with_parameters(changed)
    for site, tuned_site in zip(task.model.sites, tuned.sites, strict=True):
        problem = task.problem(site)
        energy = float((problem.reference * problem.gradient).square().sum())
        problem.weight = site_weight(tuned.graph_module, tuned_site)
        error = reconstruction_error(problem, quantizers[site.name])
        chosen = [quantizer.describe() for quantizer in quantizers[site.name].values()]
        rows.append((site.name, site.kind, site.groups, *chosen, error, error / energy if energy else 0.0))
    return pd.DataFrame(rows, columns=["site", "kind", "groups", "first_operand", "second_operand", "error", "relative_error"])
