"""The calibration artifact: ranges and sampled rows of every site, samples of every tensor site and the provenance, in safetensors."""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.importance_sampling import SampledRows
from qhyvit.calibration.output_samples import OutputStatistics
from qhyvit.calibration.ranges import TENSORS, Range
from qhyvit.files import atomic_write
from qhyvit.provenance import Provenance

_ROW_TENSORS = ("left", "gradient", "factor", "right")


def save_statistics(
    path: Path,
    statistics: dict[str, SiteStatistics],
    provenance: Provenance,
    output_statistics: dict[str, OutputStatistics] | None = None,
) -> None:
    """Write tensors ``<site>/rows/<name>`` and ``<site>/<operand>/<name>``; the header holds the counts.

    Tensor sites, where there are any, have ``<site>/output/<name>`` and ``<site>/sample``.
    """
    tensors, counts = {}, {}
    for site, entry in statistics.items():
        for name in _ROW_TENSORS:
            tensor = getattr(entry.rows, name)
            if tensor is not None:
                tensors[f"{site}/rows/{name}"] = tensor.contiguous()
        counts[site] = {operand: found.counts for operand, found in entry.ranges.items()}
        for operand, found in entry.ranges.items():
            tensors |= _range_tensors(f"{site}/{operand}", found)
    header = {"counts": counts, "provenance": provenance}
    if output_statistics:
        for site, seen in output_statistics.items():
            tensors |= {f"{site}/sample": seen.sample.contiguous()} | _range_tensors(f"{site}/output", seen.range)
        header["tensor_counts"] = {site: seen.range.counts for site, seen in output_statistics.items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata={"header": json.dumps(header, sort_keys=True)})


def load_statistics(path: Path) -> tuple[dict[str, SiteStatistics], Provenance]:
    """Read back what `save_statistics` wrote of the sites, and the provenance."""
    statistics = {}
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["header"])
        present = set(file.keys())
        for site, counts in header["counts"].items():
            rows = {name: file.get_tensor(key) for name in _ROW_TENSORS if (key := f"{site}/rows/{name}") in present}
            ranges = {operand: _read_range(file, f"{site}/{operand}", of_batches) for operand, of_batches in counts.items()}
            statistics[site] = SiteStatistics(ranges, SampledRows(**rows))
    return statistics, header["provenance"]


def load_output_statistics(path: Path) -> dict[str, OutputStatistics]:
    """Read back what `save_statistics` wrote of the tensor sites."""
    with safe_open(path, framework="pt") as file:
        counts = json.loads(file.metadata()["header"]).get("tensor_counts", {})
        return {
            site: OutputStatistics(_read_range(file, f"{site}/output", of_batches), file.get_tensor(f"{site}/sample"))
            for site, of_batches in counts.items()
        }


def _range_tensors(key: str, found: Range) -> dict[str, Tensor]:
    return {f"{key}/{name}": getattr(found, name).contiguous() for name in TENSORS}


def _read_range(file: safe_open, key: str, counts: list[int]) -> Range:
    return Range(**{name: file.get_tensor(f"{key}/{name}") for name in TENSORS}, counts=tuple(counts))
