"""Step `calibration-size`: what the number of calibration images changes, as a table and a figure."""

from pathlib import Path

from qhyvit.files import atomic_write
from qhyvit.reporting.figures.style import save_figure
from qhyvit.reporting.runs import read_result
from qhyvit.reporting.tables.calibration_size import by_size, size_figure


def report_calibration_size(results: list[Path], output: Path, svg: Path, png: Path) -> None:
    """Write the drops by number of calibration images of result files, FP32 included, to ``output`` (CSV), and draw them."""
    table = by_size([read_result(path) for path in results])
    with atomic_write(output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    save_figure(size_figure(table), svg, png)
