"""The four challenges of Q-HyViT, one row per network."""

import json
from typing import Any

import pandas as pd

from qhyvit.reporting.read import read_table
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.write import Table


def make(sources: Sources) -> Table:
    """Make the table from challenges.csv and the summary of each network, outputs of `qhyvit challenges`."""
    networks = [json.loads(path.read_text()) for path in sources.all("networks")]
    table = challenge_table(read_table(sources.one("challenges")), networks)
    return Table(table, table)


def challenge_table(activations: pd.DataFrame, networks: list[dict[str, Any]]) -> pd.DataFrame:
    """Return one row per summary in ``networks``, with ranges and overflow from ``activations``, all as text.

    Only inputs of convolutions and linear layers count: the operands of a matrix product have heads instead of channels. Range ratios are
    medians over the inputs; so are the errors, over those with an overflowing channel. The
    share of multiply-accumulates that no method quantizes has a column where a network has some.
    """
    inputs = activations[activations.operand == "input"]
    table = pd.DataFrame([_row(network, inputs[inputs.model == network["model"]]) for network in networks])
    shares = [network.get("unquantized_mac_share", 0) for network in networks]
    return table.assign(**{"MACs that stay FP32": [f"{share:.1%}" for share in shares]}) if any(shares) else table


def _row(network: dict[str, Any], inputs: pd.DataFrame) -> dict[str, str]:
    bridge, other = inputs[inputs.bridge], inputs[~inputs.bridge]
    overflowing = inputs[inputs.overflowing_channels > 0]
    return {
        "model": network["model"],
        "parameters": f"{network['parameters']:,}",
        "sites (MACs) in branches": f"{network['residual_site_share']:.0%} ({network['residual_mac_share']:.0%})",
        "BatchNorms (folded)": _norms(network, "batch_norm"),
        "LayerNorms": _norms(network, "layer_norm"),
        "GroupNorms": _norms(network, "group_norm"),
        "range ratio, bridge": _median(bridge.ratio, ".2f"),
        "range ratio, other": _median(other.ratio, ".2f"),
        "overflow, bridge": _overflowing(bridge),
        "overflow, other": _overflowing(other),
        "error, clipped": _median(overflowing.channel_error_clipped, ".2g"),
        "error, widened": _median(overflowing.channel_error_widened, ".2g"),
    }


def _norms(network: dict[str, Any], name: str) -> str:
    counts = network["norms"].get(name, {"all": 0, "folded": 0})
    return f"{counts['all']} ({counts['folded']})" if name == "batch_norm" else str(counts["all"])


def _overflowing(inputs: pd.DataFrame) -> str:
    return f"{inputs.overflowing_channels.sum():,} of {inputs.channels.sum():,}"


def _median(values: "pd.Series[float]", form: str) -> str:
    return format(values.median(), form) if len(values) else "none"
