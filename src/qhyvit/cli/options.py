"""Options that several commands share, as types of their parameters."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from qhyvit.config.base import LARGEST_SEED
from qhyvit.config.base import Mode as ModeName


class Written(NamedTuple):
    """Mark of a parameter whose path the command writes, for `qhyvit.cli.paths`; other paths are read.

    ``ends`` follow the path in the names of the files. With the parameter ``read_with`` the path is not written. ``folder`` says that the
    path is a folder, and ``weights`` that the command makes the weights of the experiment, which other commands read.
    """

    ends: tuple[str, ...] = ("",)
    read_with: str = ""
    folder: bool = False
    weights: bool = False


def _lower(bits: str) -> str:
    return bits.lower()


Config = Annotated[Path, typer.Option(envvar="QHYVIT_CONFIG", help="Experiment, a YAML file.")]
Model = Annotated[str, typer.Option(help="Model of the experiment.")]
Method = Annotated[str, typer.Option(help="Method of the experiment.")]
Mode = Annotated[
    ModeName,
    typer.Option(
        help="partial: quantize inputs and weights of convolutions, linear layers and matrix products; full: also softmax, norms,"
        " activation functions and additions."
    ),
]
Bits = Annotated[str, typer.Option(callback=_lower, help="Bits of weights and activations, for example w8a8.")]
Seed = Annotated[
    int, typer.Option(min=0, max=LARGEST_SEED, help="Seed of the choice of calibration images, sampled labels and sampled positions.")
]
Images = Annotated[Path, typer.Option(help="Manifest written by `qhyvit fetch images`.")]
Calibration = Annotated[Path, typer.Option(help="File written by `qhyvit calibrate`.")]
Quantized = Annotated[
    list[Path] | None, typer.Option(help="File written by `qhyvit quantize`; repeatable. Without it the FP32 network is run.")
]
Stamps = Annotated[
    Path | None,
    Written(),
    typer.Option(help="CSV file for size, modification time and hash of each file, so that later runs detect changes."),
]
State = Annotated[str, typer.Option(help="Name of the state that --stamps records.")]
Output = Annotated[Path, Written(), typer.Option(help="File to write.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads. Results are byte-identical only for equal numbers of threads.")]
Svg = Annotated[Path, Written(), typer.Option(help="SVG file to write.")]
Png = Annotated[Path, Written(), typer.Option(help="PNG file to write.")]
