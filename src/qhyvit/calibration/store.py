"""The calibration artifact: ranges and sampled rows of every site and the provenance, in safetensors."""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from qhyvit.calibration.capture import SiteStatistics
from qhyvit.calibration.ranges import Range
from qhyvit.calibration.rows import Rows
from qhyvit.files import written_whole
from qhyvit.provenance import Provenance

_ROW_TENSORS = ("left", "gradient", "factor", "right")
_RANGE_TENSORS = ("low", "high", "low_tail", "high_tail")


def save_statistics(path: Path, statistics: dict[str, SiteStatistics], provenance: Provenance) -> None:
    """Write tensors ``<site>/rows/<name>`` and ``<site>/<operand>/<name>``; the header holds the counts."""
    tensors, counts = {}, {}
    for site, entry in statistics.items():
        for name in _ROW_TENSORS:
            tensor = getattr(entry.rows, name)
            if tensor is not None:
                tensors[f"{site}/rows/{name}"] = tensor.contiguous()
        counts[site] = {operand: found.count for operand, found in entry.ranges.items()}
        for operand, found in entry.ranges.items():
            tensors |= {f"{site}/{operand}/{name}": getattr(found, name).contiguous() for name in _RANGE_TENSORS}
    header = {"header": json.dumps({"counts": counts, "provenance": provenance}, sort_keys=True)}
    with written_whole(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def load_statistics(path: Path) -> tuple[dict[str, SiteStatistics], Provenance]:
    """Read back what `save_statistics` wrote."""
    statistics = {}
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["header"])
        present = set(file.keys())
        for site, counts in header["counts"].items():
            rows = {name: file.get_tensor(key) for name in _ROW_TENSORS if (key := f"{site}/rows/{name}") in present}
            ranges = {
                operand: Range(count=count, **{name: file.get_tensor(f"{site}/{operand}/{name}") for name in _RANGE_TENSORS})
                for operand, count in counts.items()
            }
            statistics[site] = SiteStatistics(ranges, Rows(**rows))
    return statistics, header["provenance"]
