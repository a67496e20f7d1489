"""Time per kind of kernel of the FP32 and the int8 model of each network, in OpenVINO: where integers are faster, and where slower.

The exported models stay for `benchmarks.latency`, which measures the same ones and removes them.
"""

from pathlib import Path

import openvino
import pandas as pd
import torch
from rich.progress import track
from safetensors.torch import load_file

from benchmarks.common import EXPERIMENT, fetch, write_report
from benchmarks.latency import FP32, METHOD, exported, image_of, prepare
from qhyvit.config.loading import load_config
from qhyvit.deploy.openvino import SETTINGS

ROUNDS, WARM_UP = 100, 20
KINDS = {  # kernels by the type that OpenVINO's profile states
    "Convolution": "convolutions",
    "GroupConvolution": "grouped convolutions",
    "FullyConnected": "linear layers",
    "FullyConnectedQuantizedLegacy": "linear layers",
    "MatMul": "products of activations",
    "Subgraph": "elementwise, fused attention, rounding to integers",
}
REST = "moves of data and the rest"
NOTES = (
    f"Milliseconds of one inference, all kernels of a kind together: medians of {ROUNDS} inferences of one image. OpenVINO's profile adds"
    f" time to each kernel. `{METHOD}` is at W8A8. Networks have their own image sizes."
)


def main() -> None:
    """Write reports/benchmarks/kernels.{csv,md}."""
    torch.set_num_threads(1)
    models = load_config(EXPERIMENT).experiment.models
    fetch(*models)
    for model in track(models, "exporting"):
        prepare(model, (FP32, METHOD))
    table = pd.concat([_measure(model) for model in models], ignore_index=True)
    shown = table.assign(**{name: table[name].map("{:.2f}".format) for name in (FP32, METHOD, "difference")})
    write_report("kernels", table, shown, NOTES, ["torch", "openvino"])


def _measure(model: str) -> pd.DataFrame:
    """Return the milliseconds of both models by kind of kernel, with the sum of all kinds."""
    image = load_file(image_of(model))["images"]
    times = {name: milliseconds(exported(model)[name], image) for name in (FP32, METHOD)}
    table = pd.DataFrame(times).fillna(0.0)
    table.loc["all"] = table.sum()
    table["difference"] = table[METHOD] - table[FP32]
    return table.rename_axis("kernels").reset_index().assign(model=model)[["model", "kernels", FP32, METHOD, "difference"]]


def milliseconds(path: Path, image: torch.Tensor) -> pd.Series:
    """Return the median milliseconds of an inference by kind of kernel."""
    compiled = openvino.Core().compile_model(path, "CPU", SETTINGS | {"INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True})
    request, rounds = compiled.create_infer_request(), []
    for _ in range(WARM_UP + ROUNDS):
        request.infer([image.numpy()])
        kernels = [(KINDS.get(each.node_type, REST), 1e3 * each.real_time.total_seconds()) for each in request.get_profiling_info()]
        rounds.append(pd.DataFrame(kernels, columns=["kernels", "ms"]).groupby("kernels").ms.sum())
    return pd.DataFrame(rounds[WARM_UP:]).median()


if __name__ == "__main__":
    main()
