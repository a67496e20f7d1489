"""Step `quantize`: one method in one mode at one bit-width."""

from pathlib import Path

import pandas as pd
from torch import Tensor

from qhyvit.calibration.serialization import load_output_statistics, load_statistics
from qhyvit.config import Config, Mode, parse_bits
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.data.labelled_folder import Transform
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.methods import find_quantizers as run_method
from qhyvit.methods.task import Calibration, Task
from qhyvit.models.loading import load_model
from qhyvit.provenance import Provenance, provenance
from qhyvit.quantizers.base import Quantizers
from qhyvit.quantizers.serialization import load_quantizers, save_quantizers
from qhyvit.search.alternating import reconstruction_error


def quantize(
    config: Config,
    model: str,
    method: str,
    mode: Mode,
    bits: str,
    images: Path,
    calibration: Path,
    output: Path,
    errors: Path,
    partial: Path | None = None,
) -> None:
    """Write the quantizers of ``model`` to ``output``, and to ``errors`` a CSV of what each site's quantization costs.

    ``images`` is the manifest; methods that need more than the ``calibration`` has run the same images again. ``partial`` is what the same
    method wrote in partial mode: its operands need no second search. Raises InputError for a mode that the method does not define, and
    for quantizers of another run.
    """
    config.check_mode(method, mode)
    weight_bits, activation_bits = parse_bits(bits)
    loaded = load_model(config, model)
    statistics, calibrated = load_statistics(calibration)
    task = Task(
        loaded.traced,
        statistics,
        load_output_statistics(calibration),
        _calibration(config, loaded.transform, images, calibrated),
        config.methods[method],
        weight_bits,
        activation_bits,
    )
    settings = {"method": method, "mode": mode, "bits": bits, **task.method.model_dump()}
    record = provenance({"calibration": calibration}, settings) | {"calibrated": calibrated}
    operands = None if partial is None else _operands(partial, record)
    quantizers = run_method(task, mode, operands)
    with atomic_write(errors) as temporary:
        site_errors(task, quantizers).to_csv(temporary, index=False, float_format="%.6g")
    save_quantizers(output, quantizers, record)


def _operands(partial: Path, record: Provenance) -> Quantizers:
    quantizers, found = load_quantizers(partial)
    wanted = record["inputs"], {**record["settings"], "mode": "partial"}
    if (found["inputs"], found["settings"]) != wanted:
        raise InputError(f"{partial}: not what the same method found from the same calibration in partial mode; quantize in that mode anew")
    return quantizers


def _calibration(config: Config, transform: Transform, images: Path, calibrated: Provenance) -> Calibration:
    drawn = calibrated["settings"]

    def read_batches() -> list[Tensor]:
        entries = calibration_entries(config.experiment, images, drawn["seed"], len(drawn["images"]))
        return load_batches(config.experiment, entries, transform)

    return Calibration(read_batches, drawn["sampled_positions"], drawn["seed"])


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
