"""Files of a calibration and of a recalibration, with their provenance, in safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qhyvit.calibration.block_inputs import BlockStatistics
from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.output_samples import OutputStatistics
from qhyvit.calibration.ranges import TENSORS, Range, tail_length
from qhyvit.calibration.recalibration import Recalibration
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.files import atomic_write
from qhyvit.own_files import read_header, require, written_by
from qhyvit.provenance import Provenance

CALIBRATE, RECALIBRATE = "`qhyvit calibrate`", "`qhyvit recalibrate`"
_ROW_TENSORS = ("left", "gradient", "importance", "right")


def save_statistics(
    path: Path,
    statistics: dict[str, SiteStatistics],
    provenance: Provenance,
    output_statistics: dict[str, OutputStatistics] | None = None,
) -> None:
    """Write tensors ``<site>/rows/<name>`` and ``<site>/<operand>/<name>``; the header holds the counts.

    Output sites, where there are any, have ``<site>/output/<name>`` and ``<site>/sample``.
    """
    tensors: dict[str, Tensor] = {}
    counts = {}
    for site, entry in statistics.items():
        tensors |= _row_tensors(site, entry.rows)
        counts[site] = {operand: observed.counts for operand, observed in entry.ranges.items()}
        for operand, observed in entry.ranges.items():
            tensors |= _range_tensors(f"{site}/{operand}", observed)
    header = {"counts": counts, "provenance": provenance}
    if output_statistics:
        for site, output in output_statistics.items():
            tensors |= {f"{site}/sample": output.sample.contiguous()} | _range_tensors(f"{site}/output", output.range)
        header["output_counts"] = {site: output.range.counts for site, output in output_statistics.items()}
    _save(path, tensors, header)


def load_statistics(path: Path) -> tuple[dict[str, SiteStatistics], Provenance]:
    """Read the statistics of the sites that `save_statistics` wrote, and the provenance. Raises InputError for any other file."""
    statistics = {}
    with written_by(path, CALIBRATE), safe_open(path, framework="pt") as file:
        header, present = read_header(file), set(file.keys())
        for site, counts in header["counts"].items():
            ranges = {operand: _read_range(file, f"{site}/{operand}", per_batch) for operand, per_batch in counts.items()}
            statistics[site] = SiteStatistics(ranges, in_memory(_read_rows(file, site, present)))
        return statistics, header["provenance"]


def load_output_statistics(path: Path) -> dict[str, OutputStatistics]:
    """Read the statistics of the output sites that `save_statistics` wrote. Raises InputError for any other file."""
    with written_by(path, CALIBRATE), safe_open(path, framework="pt") as file:
        return {site: _read_output(file, site, per_batch) for site, per_batch in read_header(file).get("output_counts", {}).items()}


def save_recalibration(path: Path, recalibration: Recalibration, provenance: Provenance) -> None:
    """Write tensors ``<site>/rows/<name>``, and for each bridge block ``<last site>/block/<gradient or number of the input>``.

    The header holds the inputs that are numbers.
    """
    tensors: dict[str, Tensor] = {}
    inputs: dict[str, list[int | None]] = {}
    for site, read_rows in recalibration.rows.items():
        tensors |= _row_tensors(site, read_rows())
    for name, read_block in recalibration.blocks.items():
        block = read_block()
        inputs[name] = [None if isinstance(value, Tensor) else value for value in block.inputs]
        numbered = {str(number): value for number, value in enumerate(block.inputs) if isinstance(value, Tensor)}
        tensors |= {f"{name}/block/{key}": value.contiguous() for key, value in {**numbered, "gradient": block.gradient}.items()}
    _save(path, tensors, {"sites": list(recalibration.rows), "blocks": inputs, "provenance": provenance})


def load_recalibration(path: Path) -> tuple[Recalibration, Provenance]:
    """Read the recalibration that `save_recalibration` wrote, and the provenance. Raises InputError for any other file."""
    with written_by(path, RECALIBRATE), safe_open(path, framework="pt") as file:
        header, present = read_header(file), set(file.keys())
        rows = {site: in_memory(_read_rows(file, site, present)) for site in header["sites"]}
        blocks = {name: in_memory(_read_block(file, name, inputs)) for name, inputs in header["blocks"].items()}
        return Recalibration(rows, blocks), header["provenance"]


def _save(path: Path, tensors: dict[str, Tensor], header: Mapping[str, object]) -> None:
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"header": json.dumps(header, sort_keys=True)})


def _row_tensors(site: str, rows: SampledRows) -> dict[str, Tensor]:
    tensors = {name: getattr(rows, name) for name in _ROW_TENSORS}
    return {f"{site}/rows/{name}": tensor.contiguous() for name, tensor in tensors.items() if tensor is not None}


def _read_rows(file: safe_open, site: str, present: set[str]) -> SampledRows:
    tensors = {name: file.get_tensor(key) for name in _ROW_TENSORS if (key := f"{site}/rows/{name}") in present}
    require(all(tensor.is_floating_point() for tensor in tensors.values()), f"the rows of {site} are no real numbers")
    rows = SampledRows(**tensors)
    places = rows.gradient.shape[:-1]
    fit = (
        rows.left.shape[:-1] == places
        and rows.importance.shape == (*places, 1)
        and (rows.right is None or rows.right.ndim == len(places) + 1)
    )
    require(fit and len(places) > 1, f"the rows of {site} do not fit together")
    return rows


def _read_block(file: safe_open, name: str, inputs: list[int | None]) -> BlockStatistics:
    require(all(value is None or type(value) is int for value in inputs), f"{name} has inputs that are no tensors or numbers")
    values = [file.get_tensor(f"{name}/block/{number}") if value is None else value for number, value in enumerate(inputs)]
    return BlockStatistics(values, file.get_tensor(f"{name}/block/gradient"))


def _range_tensors(key: str, observed: Range) -> dict[str, Tensor]:
    return {f"{key}/{name}": getattr(observed, name).contiguous() for name in TENSORS}


def _read_range(file: safe_open, key: str, counts: list[int]) -> Range:
    observed = Range(**{name: file.get_tensor(f"{key}/{name}") for name in TENSORS}, counts=tuple(counts))
    require(all(type(count) is int and count > 0 for count in counts), f"{key} has counts that are no positive numbers")
    lows, highs, low_tail, high_tail = tensors = [getattr(observed, name) for name in TENSORS]
    require(all(tensor.is_floating_point() for tensor in tensors), f"the range of {key} is no range of real numbers")
    fit = lows.ndim == 2 and lows.shape == highs.shape and len(lows) == len(counts) > 0 and lows.shape[1] > 0
    tails_fit = low_tail.ndim == 1 and low_tail.shape == high_tail.shape and len(low_tail) >= tail_length(observed.count)
    require(fit and tails_fit, f"the range of {key} does not fit together")
    return observed


def _read_output(file: safe_open, site: str, counts: list[int]) -> OutputStatistics:
    output = OutputStatistics(_read_range(file, f"{site}/output", counts), file.get_tensor(f"{site}/sample"))
    require(output.sample.ndim == 2 and output.sample.is_floating_point(), f"the sample of {site} is no table of real numbers")
    return output
