"""Command line of Q-HyViT: quantize hybrid vision transformers and reproduce the paper's experiments.

Exit codes: 0 done; 2 bad input, which one line on stderr names with a way to fix it; 1 any other failure. `diff` and `claims` also exit
with 1 if a run got worse or a value is outside its tolerance.
"""

import gc
import subprocess
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

from typer.core import TyperGroup

from qhyvit.cli.forwarding import run_in_server
from qhyvit.cli.lazy import LazyCommand
from qhyvit.errors import FULL, InputError, UnwritableError

STEPS = "Steps of the workflow, which take an experiment"
# First line of help of each command, by panel: `qhyvit --help` imports none of them.
SUMMARIES = {
    "Quantize a model": {
        "convert": "Quantize a model of timm with a folder of images: the files that engines run, and a page on how they differ from FP32.",
        "inspect": "Show the quantization sites, bridge blocks and norms of a network, and the products that stay FP32.",
    },
    "Results and data of experiments": {
        "claims": "Compute from the reports which claims of the paper hold, or compare a new run with them (exit code 1: it differs).",
        "diff": "Compare results.csv with that of a git revision; exit code 1 says that a run got significantly worse.",
        "share": "Track images or weights in the folder imagenet by hash, and push them to its remote, for other machines to pull.",
    },
    STEPS: {
        "train": "Train a model from scratch and write its weights in half precision; resumes after an interruption.",
        "calibrate": "Record ranges, sampled rows and Fisher gradients of every site; all methods share them.",
        "quantize": "Find the quantizers of a network with one method, in one mode, at one bit-width.",
        "recalibrate": "Repeat the calibration with the gradients that a method asks for; methods with equal defaults share the file.",
        "evaluate": "Measure the accuracy on the evaluation images, and the distance of quantized networks from the FP32 network.",
        "predict": "Run networks on one shard of the evaluation images, for `qhyvit evaluate` to merge.",
        "challenges": "Measure what makes a network hard to quantize: channel ranges, zero-point overflow, norms, residual branches.",
        "sensitivity": "Measure what each site costs the network, quantized alone and as the only one in FP32.",
        "export": "Write a quantized network as OpenVINO IR or ONNX, each site checked against the simulator.",
        "peer": "Quantize a network to W8A8 with another tool, from the calibration images of a seed, and export it.",
        "execute": "Measure an exported model, run by its engine: accuracy, size, share of int8 kernels, agreement with the simulation.",
        "aggregate": "Gather the results of all runs, with intervals, in one table.",
        "table": "Write one table of the report.",
        "figure": "Plot one figure of the report.",
        "report": "Make one HTML page of tables that sort and filter in a browser, offline.",
        "reproduced": "Count the runs that agree with the committed results, for each network, or show the results if none are committed.",
    },
}
FETCH = {
    "images": "Check every image of the experiment and write their manifest; images tracked by DVC are pulled first.",
    "weights": "Get the weights of a model, check that they fit, and write a receipt with their hash and the network's settings.",
    "checkpoint": "Convert a PyTorch checkpoint to safetensors; its pickle is read with weights_only=True.",
    "subset": "Draw a subset of ImageNet into a folder of its own, with an experiment for it; `qhyvit share` pushes the folder.",
    "cifar10": "Download CIFAR-10, which training needs, and write the embedded sets of its images.",
}


def make_app() -> TyperGroup:
    """Return the command line as one group."""
    app = TyperGroup(name="qhyvit", help=__doc__.partition("\n")[0], no_args_is_help=True)
    fetch = TyperGroup(name="fetch", help="Get images and weights, and check them.", no_args_is_help=True, rich_help_panel=STEPS)
    for name, summary in FETCH.items():
        fetch.add_command(LazyCommand(name, f"qhyvit.cli.fetch.{name}", f"fetch_{name}", summary))
    for panel, summaries in SUMMARIES.items():
        if panel == STEPS:
            app.add_command(fetch)
        for name, summary in summaries.items():
            app.add_command(LazyCommand(name, f"qhyvit.cli.{name}", name, summary, panel))
    return app


def main() -> None:
    """Run the command line, in the fork server if there is one."""
    code = run_in_server(sys.argv[1:])
    if code is not None:
        raise SystemExit(code)
    run()


def run() -> None:
    """Run the command line in this process."""
    collect_garbage_seldom()
    try:
        make_app()()
    except InputError as error:
        _refuse(str(error))
    except OSError as error:
        if error.errno in FULL:
            _refuse(str(UnwritableError(error.filename2 or error.filename or "a temporary file or the standard output", error.errno)))
        if not _concerns_a_path(error):
            raise
        if _starts_a_program(error):
            _refuse(f"{error.filename}: no such program; install it, or add its folder to PATH")
        _refuse(f"{error}; correct the path, or run the command that writes the file")


def collect_garbage_seldom() -> None:
    """Collect garbage a hundred times less often: the objects of imports and traces live to the end, and each collection visits all."""
    gc.set_threshold(70_000)


def _concerns_a_path(error: OSError) -> bool:
    return error.filename is not None or isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError | PermissionError)


def _starts_a_program(error: OSError) -> bool:
    return traceback.extract_tb(error.__traceback__)[-1].filename == subprocess.__file__


def _refuse(message: str) -> NoReturn:
    with suppress(OSError):  # stderr may be a log on a full disk
        print(f"qhyvit: {message}", file=sys.stderr, flush=True)
    raise SystemExit(2) from None
