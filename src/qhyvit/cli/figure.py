"""Command `figure`."""

from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.cli.inputs import Input, find_entry, read_sources
from qhyvit.reporting.figures.style import save_figure
from qhyvit.reporting.registry import FIGURES


def figure(
    config: options.Config,
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(FIGURES)}.")],
    svg: options.Svg,
    png: options.Png,
    inputs: Input = None,
    mode: options.Mode = "partial",
    title: Annotated[str, typer.Option(help="Figure title.")] = "",
) -> None:
    """Plot one figure of the report."""
    entry = find_entry(FIGURES, "figure", name)
    save_figure(entry.make(read_sources(config, inputs, mode, title)), svg, png)
