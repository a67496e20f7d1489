"""Step `plot`: the figures."""

from pathlib import Path

import pandas as pd

from qhyvit.reporting.challenge_figures import channel_range_figure, overflow_figure
from qhyvit.reporting.figures import accuracy_figure, save_figure, site_error_figure
from qhyvit.reporting.results import read_results
from qhyvit.reporting.sensitivity_figure import sensitivity_figure


def plot_accuracy(results: Path, svg: Path, png: Path) -> None:
    """Draw accuracy by method and bit-width from results.csv to ``svg`` and ``png``."""
    save_figure(accuracy_figure(read_results(results)), svg, png)


def plot_site_errors(errors: list[Path], svg: Path, png: Path) -> None:
    """Draw the site errors of one model, from files named ``<method>-<mode>-<bits>.sites.csv``, to ``svg`` and ``png``."""
    save_figure(site_error_figure(pd.concat([_read_errors(path) for path in errors])), svg, png)


def plot_channel_ranges(channels: Path, svg: Path, png: Path) -> None:
    """Draw the channel ranges of one model, from the channels of `qhyvit challenges`, to ``svg`` and ``png``."""
    save_figure(channel_range_figure(pd.read_csv(channels)), svg, png)


def plot_zero_point_overflow(activations: Path, svg: Path, png: Path) -> None:
    """Draw where zero points overflow in all models, from challenges.csv, to ``svg`` and ``png``."""
    save_figure(overflow_figure(pd.read_csv(activations)), svg, png)


def plot_sensitivity(sensitivity: Path, svg: Path, png: Path, title: str) -> None:
    """Draw the sites that cost most, from the output of `qhyvit sensitivity`, to ``svg`` and ``png``."""
    save_figure(sensitivity_figure(pd.read_csv(sensitivity), title), svg, png)


def _read_errors(path: Path) -> pd.DataFrame:
    method, mode, bits = path.name.removesuffix(".sites.csv").rsplit("-", 2)
    return pd.read_csv(path).assign(method=method, mode=mode, bits=bits)
