"""Command `inspect`."""

import json
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from rich.console import Console
from rich.table import Table

from qhyvit.analysis.sensitivity import COSTS
from qhyvit.config.loading import read_yaml
from qhyvit.config.models import MODELS, find_model
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.graph.describe import describe
from qhyvit.models.zoo import build
from qhyvit.reporting.figures.site_graph import plot_site_graph


def inspect(
    model: Annotated[str, typer.Argument(help="Model of the zoo, or any model of timm.")],
    zoo: Annotated[Path, typer.Option(help="Zoo, a YAML file.")] = Path("config/models.yaml"),
    output: Annotated[Path | None, typer.Option("--json", help="JSON file for the description.")] = None,
    svg: Annotated[Path | None, typer.Option(help="SVG file for a drawing of the sites and bridge blocks.")] = None,
    sensitivity: Annotated[Path | None, typer.Option(help="File written by `qhyvit sensitivity`, to show with the sites.")] = None,
) -> None:
    """Show the quantization sites, bridge blocks and norms of a network."""
    spec = find_model(model, read_yaml(zoo, MODELS), zoo)
    network = build(spec, classes=1000)
    description = {"model": model} | describe(network, torch.zeros(2, *network.pretrained_cfg["input_size"]))  # type: ignore[index]
    if sensitivity is not None:
        _add_costs(description["sites"], sensitivity)
    if output is not None:
        with atomic_write(output) as path:
            path.write_text(json.dumps(description, indent=1) + "\n")
    if svg is not None:
        plot_site_graph(description, svg)
    _show(description, Console())


def _add_costs(sites: list[dict[str, Any]], sensitivity: Path) -> None:
    table = pd.read_csv(sensitivity).set_index("site")
    if list(table.index) != [site["name"] for site in sites]:
        raise InputError(f"{sensitivity}: its sites are not those of this network; give the sensitivity of the same model")
    for site in sites:
        site |= table.loc[site["name"], COSTS].to_dict()


def _show(description: dict[str, Any], console: Console) -> None:
    costs = [column for column in COSTS if column in description["sites"][0]]
    columns = ("site", "kind", "groups", "operands", "output", "granularity", "MACs", *costs)
    sites = Table(*columns, title=f"{description['model']}: sites")
    for site in description["sites"]:
        operands = [site[name] for name in ("input", "weight", "left", "right") if name in site]
        shapes = " x ".join(str(shape) for shape in operands)
        granularity = "/".join(site["granularity"])
        shown = (site["name"], site["kind"], str(site["groups"]), shapes, str(site["output"]), granularity, f"{site['macs']:,}")
        sites.add_row(*shown, *(f"{site[column]:.3g}" for column in costs))
    bridges = Table("kind", "before", "after", "map", "tokens", title="bridge blocks")
    for block in description["bridge_blocks"]:
        bridges.add_row(block["kind"], "\n".join(block["before"]), "\n".join(block["after"]), str(block["map"]), str(block["tokens"]))
    console.print(sites, bridges)
    norms = ", ".join(f"{count} {name}" for name, count in description["norms"].items())
    macs = sum(site["macs"] for site in description["sites"])
    console.print(f"{description['parameters']:,} parameters, {macs:,} MACs at {description['input']}; {norms}")
