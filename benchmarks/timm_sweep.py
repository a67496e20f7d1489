"""Networks of timm with random weights, as `qhyvit inspect` sees them: traced or not, sites, and what no site has.

Resumable: reports/benchmarks/timm_sweep.csv has a row per name that is done, and only others are run.
"""

import logging
from time import monotonic, process_time
from typing import Any

import pandas as pd
import torch
import typer
from rich.progress import track
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import REPORTS, write_report
from benchmarks.limited import run_limited
from benchmarks.timm_plan import LARGEST, LARGEST_SIDE, planned
from qhyvit.config.dataset import IMAGENET_CLASSES
from qhyvit.config.models import Model
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.graph.describe import describe
from qhyvit.models.zoo import build, input_shape

TABLE = REPORTS / "timm_sweep.csv"
SECONDS, GIB = 240, 12  # limits of a network
TRACED, REFUSED, FAILED, LEFT_OUT = "traced", "refused", "failed", "left_out"
COLUMNS = ["model", "family", "size", "parameters", "first", "outcome", "reason", "sites", "macs", "site_share", "reported_share"]
COLUMNS += ["reported", "bridge_blocks", "seconds"]


def main(minutes: float = float("inf"), names: str = "") -> None:
    """Write reports/benchmarks/timm_sweep.{csv,md}; begin no network after so many ``minutes``; ``names`` takes only these."""
    logging.disable(logging.WARNING)
    plan = planned()
    if names:
        plan = plan[plan.model.isin(names.split(","))]
    table = pd.read_csv(TABLE) if TABLE.exists() else pd.DataFrame(columns=COLUMNS)
    waiting = plan[~plan.model.isin(table.model)].to_dict("records")
    end = monotonic() + 60 * minutes
    for row in track(waiting, "sweeping timm"):
        if monotonic() > end and not left_out(row["size"], row["parameters"]):
            continue
        found = row | sweep(row["model"], row["size"], row["parameters"])
        table = pd.concat([table, pd.DataFrame([found], columns=COLUMNS)], ignore_index=True)
        with atomic_write(TABLE) as path:
            table.to_csv(path, index=False)
    whole = dict.fromkeys(("parameters", "sites", "macs", "bridge_blocks"), "Int64")
    write_report("timm_sweep", table.astype(whole).sort_values("model"), summary(table), _notes(table, len(planned())), ["torch", "timm"])


def sweep(name: str, size: int, parameters: float) -> dict[str, Any]:
    """Return the outcome for a network, built and traced in a process of its own."""
    if reason := left_out(size, parameters):
        return {"outcome": LEFT_OUT, "reason": reason}
    found = run_limited(inspected, name, seconds=SECONDS, gib=GIB)
    if isinstance(found, Exception):
        outcome = REFUSED if isinstance(found, InputError) else FAILED
        reason = str(found) if isinstance(found, InputError) else f"{type(found).__name__}: {found}"
        found = {"outcome": outcome, "reason": reason.splitlines()[0] if outcome == FAILED else reason}
    return found


def left_out(size: int, parameters: float) -> str | None:
    """Return the reason why a network is not run; None if it is."""
    if size > LARGEST_SIDE:
        return f"its images have more than {LARGEST_SIDE} pixels a side"
    return f"it has more than {LARGEST / 1e6:.0f} million parameters" if parameters > LARGEST else None


def inspected(name: str) -> dict[str, Any]:
    """Describe a network, and count its multiply-accumulates apart from the description, as PyTorch does in the module.

    The shares of sites and of reported products are parts of that count.
    """
    torch.manual_seed(0)
    network = build(Model(family="", constructor=name), IMAGENET_CLASSES).eval()
    shape = input_shape(network)
    description = describe(network, torch.zeros(2, *shape))
    total = counted(network, shape)
    products = description["unquantized_products"]
    return {
        "outcome": TRACED,
        "sites": len(description["sites"]),
        "macs": total,
        "site_share": sum(site["macs"] for site in description["sites"]) / total,
        "reported_share": sum(product["macs"] for product in products) / total,
        "reported": " ".join(sorted({product["operator"] for product in products})),
        "bridge_blocks": len(description["bridge_blocks"]),
        "seconds": round(process_time(), 1),
    }


def counted(network: nn.Module, shape: tuple[int, int, int]) -> int:
    """Return the multiply-accumulates of an image, with attention as the two products that it is."""
    torch.backends.mha.set_fastpath_enabled(False)
    with (
        torch.no_grad(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False),
        FlopCounterMode(display=False) as counter,
    ):
        network(torch.zeros(2, *shape))
    return counter.get_total_flops() // 4


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per family, and one for all: numbers of names by outcome, and the least share of sites."""
    groups = [*table.groupby("family"), ("all", table)]
    return pd.DataFrame([{"family": family} | _summarize(rows) for family, rows in groups])


def _summarize(rows: pd.DataFrame) -> dict[str, str]:
    traced = rows[rows.outcome == TRACED]
    operators = sorted({operator for listed in traced.reported.dropna() for operator in str(listed).split()})
    return {
        "names": str(len(rows)),
        **{outcome: str(sum(rows.outcome == outcome)) for outcome in (TRACED, REFUSED, FAILED, LEFT_OUT)},
        "least share of sites, %": f"{100 * traced.site_share.min():.1f}" if len(traced) else "",
        "not quantized": ", ".join(operator.removeprefix("aten.").partition(".")[0] for operator in operators),
    }


def _notes(table: pd.DataFrame, names: int) -> str:
    unaccounted = (1 - table.site_share - table.reported_share).abs()
    return (
        f"{len(table)} of timm's {names} names, with random weights and images of their default size. Names whose images have more than"
        f" {LARGEST_SIDE} pixels a side, or of more than {LARGEST / 1e6:.0f} million parameters, are left out. A network may take"
        f" {SECONDS} CPU-seconds and {GIB} GiB. Shares are of the multiply-accumulates that PyTorch counts in the module. Those of sites"
        f" and of reported products add up to 100 % within {100 * unaccounted.max():.2g} points."
    )


if __name__ == "__main__":
    typer.run(main)
