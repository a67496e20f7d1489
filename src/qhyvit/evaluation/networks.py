"""Compare the forms of one network: FP32, simulated, and as files that engines run."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from qhyvit.deploy.engines import Engine
from qhyvit.deploy.latency import ROUNDS, median_latencies
from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.progress import track


@torch.no_grad()
def compare_networks(
    modules: Mapping[str, Callable[[Tensor], Tensor]], engines: Mapping[str, Engine], images: Tensor, labels: Sequence[int] | None
) -> pd.DataFrame:
    """Tabulate, as text, each network on ``images`` [N, C, H, W]; the first of ``modules`` is the FP32 network.

    Top-1, if there are ``labels`` [N], its agreement with FP32, and the KL divergence; of the ``engines`` also the size of the file, the
    share of multiply-accumulates in integers, and the latency on this machine.
    """
    latencies = median_latencies(engines, images[:1])
    runs = {**modules, **{name: engine.logits for name, engine in engines.items()}}
    logits = {name: torch.cat([run(image) for image in track(images.split(1), name)]) for name, run in runs.items()}
    reference = next(iter(logits.values()))
    rows = []
    for name, found in logits.items():
        row = {"network": name}
        if labels is not None:
            row["top-1 (%)"] = _percent(top1_correct(found, torch.tensor(labels)))
        row["top-1 equal to FP32 (%)"] = _percent(found.argmax(1) == reference.argmax(1))
        row["KL from FP32 (nats)"] = f"{mean_kl(reference, found):.5f}"
        if name in engines:
            row["size (MB)"] = f"{engines[name].size / 1e6:.2f}"
            row["integer multiplications (%)"] = f"{100 * engines[name].int8_share():.1f}"
            row[f"latency (ms, median of {ROUNDS}, one thread)"] = f"{latencies[name]:.2f}"
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _percent(hits: Tensor) -> str:
    return f"{100 * float(hits.double().mean()):.2f}"
