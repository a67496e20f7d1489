"""Step `plot`: the figures."""

from pathlib import Path

import pandas as pd

from qhyvit.config import Mode
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


def plot_accuracy(results: Path, mode: Mode, svg: Path, png: Path) -> None:
    """Draw accuracy by bit-width and method, from results.csv, to ``svg`` and ``png``."""
    save_figure(accuracy_figure(read_results(results), mode), svg, png)


def plot_drops(results: Path, mode: Mode, svg: Path, png: Path) -> None:
    """Draw the drop of each method with its interval, from results.csv, to ``svg`` and ``png``."""
    save_figure(drop_figure(read_results(results), mode), svg, png)


def plot_seeds(results: Path, mode: Mode, svg: Path, png: Path) -> None:
    """Draw how far the seeds are from their mean, from results.csv, to ``svg`` and ``png``."""
    save_figure(seed_figure(read_results(results), mode), svg, png)


def plot_ablation(results: Path, mode: Mode, svg: Path, png: Path) -> None:
    """Draw what each step of the search adds, from results.csv, to ``svg`` and ``png``."""
    save_figure(ablation_figure(read_results(results), mode), svg, png)


def plot_timings(results: Path, seconds: Path, mode: Mode, svg: Path, png: Path) -> None:
    """Draw the drop against the time that it takes, from results.csv and the ``seconds`` of `qhyvit timings`, to ``svg`` and ``png``."""
    save_figure(timing_figure(read_results(results), pd.read_csv(seconds), mode), svg, png)


def plot_site_errors(errors: list[Path], svg: Path, png: Path) -> None:
    """Draw the site errors of one model, from files named ``<method>-<mode>-<bits>.sites.csv``, to ``svg`` and ``png``."""
    save_figure(site_error_figure(pd.concat([_read_errors(path) for path in errors], ignore_index=True)), svg, png)


def plot_channel_ranges(channels: Path, svg: Path, png: Path) -> None:
    """Draw the channel ranges of one model, from the channels of `qhyvit challenges`, to ``svg`` and ``png``."""
    save_figure(channel_range_figure(pd.read_csv(channels)), svg, png)


def plot_zero_point_overflow(activations: Path, svg: Path, png: Path) -> None:
    """Draw where zero points overflow in all models, from challenges.csv, to ``svg`` and ``png``."""
    save_figure(overflow_figure(pd.read_csv(activations)), svg, png)


def plot_bridge_sites(channels: list[Path], activations: Path, svg: Path, png: Path) -> None:
    """Draw ranges and overflow at bridge sites against others, from the channels of all models and challenges.csv."""
    every = pd.concat([pd.read_csv(path) for path in channels], ignore_index=True)
    save_figure(bridge_figure(every, pd.read_csv(activations)), svg, png)


def plot_sensitivity(sensitivity: Path, svg: Path, png: Path, title: str) -> None:
    """Draw the sites that cost most, from the output of `qhyvit sensitivity`, to ``svg`` and ``png``."""
    save_figure(sensitivity_figure(pd.read_csv(sensitivity), title), svg, png)


def _read_errors(path: Path) -> pd.DataFrame:
    method, mode, bits = path.name.removesuffix(".sites.csv").rsplit("-", 2)
    return pd.read_csv(path).assign(method=method, mode=mode, bits=bits)
