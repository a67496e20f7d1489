"""Measure what each difference between a method and its source costs or gains, on two networks at W6A6.

Each difference is undone alone, and the method runs with and without it on the same calibration images and evaluation images. What has been
measured is kept in results/benchmarks until the report is written, so that an interrupted run resumes.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch
import typer

from benchmarks.common import SEED, fetch, kept, write_report
from benchmarks.differences.network import BITS, Measured, Network
from benchmarks.differences.table import DIFFERENCES, Difference
from qhyvit.config.base import parse_bits
from qhyvit.files import atomic_write
from qhyvit.methods import find_quantizers
from qhyvit.presets import load_preset

MODELS = ("mobilevit_xxs", "mobilevitv2_050")
KEPT = kept("differences")


def main(model: str | None = None) -> None:
    """Write reports/benchmarks/differences.{csv,md}; with ``model`` only measure this network."""
    torch.set_num_threads(1)
    models = [model] if model else MODELS
    fetch(*models)
    KEPT.mkdir(parents=True, exist_ok=True)
    rows = [row for name in models for row in _measured(name)]
    if not model:
        table = pd.DataFrame(rows)
        write_report("differences", table, _summary(table), _notes(table), ["torch"])
        shutil.rmtree(KEPT)


def _measured(model: str) -> Iterator[dict[str, Any]]:
    network: Network | None = None
    methods: dict[tuple[str, str], Measured] = {}
    for difference in DIFFERENCES:
        path = KEPT / f"{model}-{difference.method}-{difference.name}.json"
        if not path.exists():
            network = network or Network(model)
            key = difference.method, difference.mode
            if key not in methods:
                methods[key] = _run(network, Difference(difference.method, "", difference.mode))
            row = _row(network, difference, methods[key], _run(network, difference))
            with atomic_write(path) as temporary:
                temporary.write_text(json.dumps(row) + "\n")
            print(row, flush=True)
        yield json.loads(path.read_text())


def _run(network: Network, difference: Difference) -> Measured:
    settings = load_preset(difference.method).model_copy(update=dict(difference.settings))
    task = network.task(settings, difference.images, difference.positions, rows_of_one_batch=difference.rows_of_one_batch)
    with ExitStack() as stack:
        for name, value in difference.patches(network).items():
            stack.enter_context(patch(name, value))
        find = difference.find or (lambda task: find_quantizers(task, difference.mode))
        quantizers = find(task)
        quantized = network.traced.with_quantizers(quantizers)
        if difference.change:
            difference.change(quantized, task, quantizers)
        return network.measure(quantized)


def _row(network: Network, difference: Difference, method: Measured, source: Measured) -> dict[str, Any]:
    lost, low, high = network.change(source, method)
    weight_bits, activation_bits = parse_bits(BITS)
    return {
        "method": difference.method,
        "difference": difference.name,
        "mode": difference.mode,
        "model": network.model,
        "w_bits": weight_bits,
        "a_bits": activation_bits,
        "seed": SEED,
        "images": len(method.correct),
        "drop_method": network.fp32_top1 - method.top1,
        "drop_source": network.fp32_top1 - source.top1,
        "cost": lost,
        "cost_low": low,
        "cost_high": high,
        "kl_method": method.kl,
        "kl_source": source.kl,
    }


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    intervals = (
        f"{cost:+.2f} [{low:.2f}, {high:.2f}]" for cost, low, high in zip(table.cost, table.cost_low, table.cost_high, strict=True)
    )
    return pd.DataFrame(
        {
            "method": table.method,
            "as in the source": table.difference,
            "mode": table["mode"],
            "network": table.model,
            "drop": table.drop_method.map("{:.2f}".format),
            "drop as in the source": table.drop_source.map("{:.2f}".format),
            "cost": list(intervals),
            "KL ratio": (table.kl_method / table.kl_source).map("{:.3f}".format),
        }
    )


def _notes(table: pd.DataFrame) -> str:
    return (
        f"Each method at {BITS.upper()} as this project has it, and with one part as in its source;"
        f" {table.images.iloc[0]:,} images, seed {SEED}."
        " The cost is how many points of top-1 the project's form loses to the source's, with its paired interval over images."
        " The KL ratio is the divergence from FP32 of the project's form over that of the source's."
    )


if __name__ == "__main__":
    typer.run(main)
