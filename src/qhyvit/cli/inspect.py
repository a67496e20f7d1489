"""Command `inspect`."""

import json
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Column, Table

from qhyvit.analysis.sensitivity import COSTS
from qhyvit.cli import options
from qhyvit.cli.console import wide_console
from qhyvit.config.dataset import IMAGENET_CLASSES
from qhyvit.config.loading import read_yaml
from qhyvit.config.models import MODELS, find_model
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.graph.describe import describe
from qhyvit.graph.unquantized_products import UnquantizedProduct, unquantized_sentence
from qhyvit.models.zoo import build, input_shape
from qhyvit.own_files import written_by
from qhyvit.reporting.figures.site_graph import plot_site_graph
from qhyvit.reporting.read import read_table

MODELS_FILE = Path("config/models.yaml")


def inspect(
    model: Annotated[str, typer.Argument(help="Model of the models file or of timm.")],
    models: Annotated[Path | None, typer.Option(help="Models file, YAML; default: config/models.yaml if it is there.")] = None,
    output: Annotated[Path | None, options.Written(), typer.Option("--json", help="JSON file for the description.")] = None,
    svg: Annotated[Path | None, options.Written(), typer.Option(help="SVG file for a drawing of the sites and bridge blocks.")] = None,
    sensitivity: Annotated[Path | None, typer.Option(help="File written by `qhyvit sensitivity`, to show with the sites.")] = None,
) -> None:
    """Show the quantization sites, bridge blocks and norms of a network, and the products that stay FP32."""
    source = models or MODELS_FILE
    known = read_yaml(source, MODELS) if models or source.exists() else {}
    network = build(find_model(model, known, source), IMAGENET_CLASSES)
    try:
        description = {"model": model} | describe(network, torch.zeros(2, *input_shape(network)))
    except InputError as error:
        raise InputError(f"model {model}: {error}") from error
    if sensitivity is not None:
        _add_costs(description["sites"], sensitivity)
    if svg is not None and not description["sites"]:
        raise InputError(f"model {model}: has no sites to draw; leave out --svg")
    if output is not None:
        with atomic_write(output) as path:
            path.write_text(json.dumps(description, indent=1) + "\n")
    if svg is not None:
        plot_site_graph(description, svg)
    show(description, wide_console())


def _add_costs(sites: list[dict[str, Any]], sensitivity: Path) -> None:
    with written_by(sensitivity, "`qhyvit sensitivity`"):
        table = read_table(sensitivity).set_index("site")[COSTS].astype(float)
    if list(table.index) != [site["name"] for site in sites]:
        raise InputError(f"{sensitivity}: its sites are not those of this network; give the sensitivity of the same model")
    for site in sites:
        site |= table.loc[site["name"]].to_dict()


def show(description: dict[str, Any], console: Console) -> None:
    """Print the description of a network as tables."""
    blocks, products = description["bridge_blocks"], description["unquantized_products"]
    if description["sites"]:
        console.print(_site_table(description["sites"], f"{description['model']}: sites"))
    else:
        console.print(f"{description['model']}: has no sites, so no method quantizes anything in it.")
    console.print(_bridge_table(blocks) if blocks else "There are no bridge blocks.")
    if products:
        console.print(_product_table(products))
    console.print(unquantized_sentence([UnquantizedProduct(**product) for product in products]))
    norms = ", ".join(f"{count} {name}" for name, count in description["norms"].items())
    macs = sum(site["macs"] for site in description["sites"])
    console.print(f"{description['parameters']:,} parameters, {macs:,} MACs at {description['input']}; {norms}")


def _site_table(sites: list[dict[str, Any]], title: str) -> Table:
    costs = [column for column in COSTS if any(column in site for site in sites)]
    table = Table(Column("site", overflow="fold"), "kind", "groups", "operands", "output", "granularity", "MACs", *costs, title=title)
    for site in sites:
        operands = [site[name] for name in ("input", "weight", "left", "right") if name in site]
        shapes, granularity = " x ".join(map(str, operands)), "/".join(site["granularity"])
        cells = (site["name"], site["kind"], str(site["groups"]), shapes, str(site["output"]), granularity, f"{site['macs']:,}")
        table.add_row(*cells, *(f"{site[column]:.3g}" for column in costs))
    return table


def _bridge_table(blocks: list[dict[str, Any]]) -> Table:
    table = Table("kind", "before", "after", "map", "tokens", title="bridge blocks")
    for block in blocks:
        table.add_row(block["kind"], "\n".join(block["before"]), "\n".join(block["after"]), str(block["map"]), str(block["tokens"]))
    return table


def _product_table(products: list[dict[str, Any]]) -> Table:
    table = Table("module", "operator", "MACs", "share", "reason", title="products that stay FP32")
    for product in products:
        table.add_row(product["name"], product["operator"], f"{product['macs']:,}", f"{product['share']:.2%}", product["reason"])
    return table
