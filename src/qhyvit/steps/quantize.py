"""Step `quantize`: one method at one bit-width."""

from pathlib import Path

import pandas as pd

from qhyvit.calibration.blocks import load_blocks
from qhyvit.calibration.store import load_statistics
from qhyvit.config import Config, parse_bits
from qhyvit.files import written_whole
from qhyvit.methods import quantize as run_method
from qhyvit.methods.task import Task
from qhyvit.network import load_network
from qhyvit.provenance import provenance
from qhyvit.quantizers.store import Quantizers, save_quantizers
from qhyvit.search.alternating import reconstruction_error


def quantize(
    config: Config, model: str, method: str, bits: str, calibration: Path, blocks: Path | None, output: Path, errors: Path
) -> None:
    """Write the quantizers of ``model`` to ``output``, and to ``errors`` a CSV of what each site's quantization costs.

    Methods that treat bridge blocks jointly need the calibration of the ``blocks``; it comes with that of the sites.
    """
    weight_bits, activation_bits = parse_bits(bits)
    statistics, calibrated = load_statistics(calibration)
    block_statistics = load_blocks(blocks) if blocks else {}
    task = Task(load_network(config, model), statistics, config.methods[method], weight_bits, activation_bits, block_statistics)
    quantizers = run_method(task)
    settings = {"method": method, "bits": bits, **task.method.model_dump()}
    with written_whole(errors) as temporary:
        site_errors(task, quantizers).to_csv(temporary, index=False, float_format="%.6g")
    save_quantizers(output, quantizers, provenance({"calibration": calibration}, settings) | {"calibrated": calibrated})


def site_errors(task: Task, quantizers: Quantizers) -> pd.DataFrame:
    """A row a site: what was chosen for each operand, and the Fisher-weighted squared error relative to the output's energy."""
    rows = []
    for site in task.network.sites:
        problem = task.problem(site)
        energy = float((problem.reference * problem.gradient).square().sum())
        error = reconstruction_error(problem, quantizers[site.name])
        chosen = [quantizer.describe() for quantizer in quantizers[site.name].values()]
        rows.append((site.name, site.kind, site.groups, *chosen, error, error / energy if energy else 0.0))
    return pd.DataFrame(rows, columns=["site", "kind", "groups", "first_operand", "second_operand", "error", "relative_error"])
