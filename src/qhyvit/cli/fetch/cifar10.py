"""Command `fetch cifar10`."""

from pathlib import Path
from typing import Annotated

import typer

from qhyvit.cli import options
from qhyvit.data import cifar10
from qhyvit.data.cifar10_sample import write_sample


def fetch_cifar10(
    output: Annotated[Path, options.Written(folder=True), typer.Option(help="Folder for the full set, as safetensors.")],
    sample: Annotated[Path, options.Written(folder=True), typer.Option(help="Folder for the embedded sets of images, as PNG files.")],
) -> None:
    """Download CIFAR-10, which training needs, and write the embedded sets of its images."""
    cifar10.fetch(output)
    write_sample(cifar10.load(output, "train"), cifar10.load(output, "test"), sample)
