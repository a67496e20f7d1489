"""Command `calibration-size`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.files import atomic_write
from qhyvit.reporting.figures.style import save_figure
from qhyvit.reporting.runs import read_result
from qhyvit.reporting.tables.calibration_size import by_size, size_figure


def calibration_size(
    results: Annotated[list[Path], typer.Argument(help="Files written by `qhyvit evaluate`, FP32 included.")],
    output: options.Output,
    svg: options.Svg,
    png: options.Png,
) -> None:
    """Tabulate and plot the drop by number of calibration images."""
    table = by_size([read_result(path) for path in results])
    with atomic_write(output) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")
    save_figure(size_figure(table), svg, png)
