"""Commands `plot ...`: the figures."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from qhyvit.cli import options
from qhyvit.reporting.figures.ablation import ablation_figure
from qhyvit.reporting.figures.accuracy import accuracy_figure
from qhyvit.reporting.figures.bridge_sites import bridge_figure
from qhyvit.reporting.figures.challenges import channel_range_figure, overflow_figure
from qhyvit.reporting.figures.drops import drop_figure
from qhyvit.reporting.figures.sensitivity import sensitivity_figure
from qhyvit.reporting.figures.site_errors import site_error_figure
from qhyvit.reporting.figures.style import save_figure
from qhyvit.reporting.figures.timings import timing_figure
from qhyvit.reporting.runs import read_results
from qhyvit.reporting.tables.seeds import seed_figure


def plot_accuracy(results: options.Results, mode: options.Mode, svg: options.Svg, png: options.Png) -> None:
    """Plot accuracy by bit-width and method."""
    save_figure(accuracy_figure(read_results(results), mode), svg, png)


def plot_drops(results: options.Results, mode: options.Mode, svg: options.Svg, png: options.Png) -> None:
    """Plot the drop of each method with its interval."""
    save_figure(drop_figure(read_results(results), mode), svg, png)


def plot_seeds(results: options.Results, mode: options.Mode, svg: options.Svg, png: options.Png) -> None:
    """Plot the distance of each seed from the mean of its run."""
    save_figure(seed_figure(read_results(results), mode), svg, png)


def plot_ablation(results: options.Results, mode: options.Mode, svg: options.Svg, png: options.Png) -> None:
    """Plot the gain of each step of the search."""
    save_figure(ablation_figure(read_results(results), mode), svg, png)


def plot_timings(
    results: options.Results,
    seconds: Annotated[Path, typer.Option(help="Seconds of each run, written by `qhyvit timings`.")],
    mode: options.Mode,
    svg: options.Svg,
    png: options.Png,
) -> None:
    """Plot the drop of each method against its running time."""
    save_figure(timing_figure(read_results(results), pd.read_csv(seconds), mode), svg, png)


def plot_site_errors(
    errors: Annotated[list[Path], typer.Argument(help="Site errors of one model, written by `qhyvit quantize`.")],
    svg: options.Svg,
    png: options.Png,
) -> None:
    """Plot the error of each site of a model."""
    save_figure(site_error_figure(pd.concat([_read_errors(path) for path in errors], ignore_index=True)), svg, png)


def plot_channel_ranges(
    channels: Annotated[Path, typer.Argument(help="Channels of one model, written by `qhyvit challenges`.")],
    svg: options.Svg,
    png: options.Png,
) -> None:
    """Plot the spread of channel ranges at each site of a model."""
    save_figure(channel_range_figure(pd.read_csv(channels)), svg, png)


def plot_zero_point_overflow(
    activations: Annotated[Path, typer.Argument(help="Output of `qhyvit aggregate-challenges`.")], svg: options.Svg, png: options.Png
) -> None:
    """Plot the sites of all models at which zero points overflow."""
    save_figure(overflow_figure(pd.read_csv(activations)), svg, png)


def plot_bridge_sites(
    channels: Annotated[list[Path], typer.Argument(help="Channels of all models, written by `qhyvit challenges`.")],
    activations: Annotated[Path, typer.Option(help="Output of `qhyvit aggregate-challenges`.")],
    svg: options.Svg,
    png: options.Png,
) -> None:
    """Plot channel ranges and zero-point overflow at the sites of bridge blocks against all others."""
    every = pd.concat([pd.read_csv(path) for path in channels], ignore_index=True)
    save_figure(bridge_figure(every, pd.read_csv(activations)), svg, png)


def plot_sensitivity(
    sensitivity: Annotated[Path, typer.Argument(help="Output of `qhyvit sensitivity`.")],
    svg: options.Svg,
    png: options.Png,
    title: Annotated[str, typer.Option(help="Figure title.")],
) -> None:
    """Plot the sites that cost most."""
    save_figure(sensitivity_figure(pd.read_csv(sensitivity), title), svg, png)


def _read_errors(path: Path) -> pd.DataFrame:
    method, mode, bits = path.name.removesuffix(".sites.csv").rsplit("-", 2)
    return pd.read_csv(path).assign(method=method, mode=mode, bits=bits)
