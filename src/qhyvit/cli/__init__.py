"""Command line of Q-HyViT: quantize hybrid vision transformers and reproduce the paper's experiments.

Exit codes: 0 done; 2 bad input, which one line on stderr names with a way to fix it; 1 any other failure.
"""

import gc
import subprocess
import sys
import traceback
from typing import NoReturn

from typer.core import TyperGroup

from qhyvit.cli.lazy import LazyCommand
from qhyvit.errors import InputError

SUMMARIES = {
    "For users": {
        "inspect": "Show the quantization sites, bridge blocks and norms of a network.",
        "quantize": "Find the quantizers of a network with one method, in one mode, at one bit-width.",
        "evaluate": "Measure the accuracy on the evaluation images, and the distance of quantized networks from the FP32 network.",
        "diff": "Compare results.csv with that of a git revision; exit code 1 says that a run got significantly worse.",
    },
    "Workflow steps": {
        "train": "Train a model from scratch and write its weights in half precision; resumes after an interruption.",
        "calibrate": "Record ranges, sampled rows and Fisher gradients of every site; all methods share them.",
        "recalibrate": "Record sampled rows with other gradients, and bridge blocks; methods with equal default settings share the file.",
        "predict": "Run networks on one shard of the evaluation images, for `qhyvit evaluate` to merge.",
        "challenges": "Measure what makes a network hard to quantize: channel ranges, zero-point overflow, norms, residual branches.",
        "sensitivity": "Measure the cost of each site for the whole network, quantized alone and as the only one in FP32.",
        "aggregate": "Gather all results with their intervals into one table.",
        "aggregate-challenges": "Gather the challenges of all models into one table.",
        "compare": "Compare the results with the published ones: Tables II to IV, and the mean improvement over each baseline.",
        "seeds": "Show the spread of each result over the seeds.",
        "timings": "Show the running time of each method next to the published means.",
        "provenance": "Tabulate settings, software, commits and hashes of a report.",
        "pages": "Make HTML pages of tables that sort and filter in a browser, without a network.",
        "calibration-size": "Tabulate and plot the drop by number of calibration images.",
    },
}
FETCH = {
    "images": "Check every image of the experiment and write their manifest; images tracked by DVC are pulled first.",
    "weights": "Get the weights of a model, check that they fit, and write a receipt with their hash.",
    "checkpoint": "Convert a PyTorch checkpoint to safetensors; only tensors are unpickled.",
    "cifar10": "Download CIFAR-10, which training needs, and write the embedded sample of it.",
}
PLOT = {
    "accuracy": "Plot accuracy by bit-width and method.",
    "drops": "Plot the drop of each method with its interval.",
    "seeds": "Plot the distance of each seed from the mean of its run.",
    "ablation": "Plot the gain of each step of the search.",
    "timings": "Plot the drop of each method against its running time.",
    "site-errors": "Plot the error of each site of a model.",
    "channel-ranges": "Plot the spread of channel ranges at each site of a model.",
    "zero-point-overflow": "Plot the sites of all models at which zero points overflow.",
    "bridge-sites": "Plot channel ranges and zero-point overflow at the sites of bridge blocks against all others.",
    "sensitivity": "Plot the sites that cost most.",
}


def _module(name: str) -> str:
    return name.replace("-", "_")


app = TyperGroup(name="qhyvit", help=__doc__.partition("\n")[0], no_args_is_help=True)
for panel, summaries in SUMMARIES.items():
    for name, summary in summaries.items():
        app.add_command(LazyCommand(name, f"qhyvit.cli.{_module(name)}", _module(name), summary, panel))
app.add_command(
    LazyCommand(
        "paired",
        "qhyvit.cli.paired",
        "compare_in_pairs",
        "Show the gain of Q-HyViT over every other method, tested on the same images.",
        "Workflow steps",
    )
)
app.add_command(
    LazyCommand(
        "ablation",
        "qhyvit.cli.paired",
        "compare_steps",
        "Show the gain of each step of Q-HyViT's search over the step before, tested on the same images.",
        "Workflow steps",
    )
)
fetch = TyperGroup(name="fetch", help="Get images and weights, and check them.", no_args_is_help=True, rich_help_panel="Workflow steps")
for name, summary in FETCH.items():
    fetch.add_command(LazyCommand(name, f"qhyvit.cli.fetch.{name}", f"fetch_{name}", summary))
app.add_command(fetch)
plot = TyperGroup(name="plot", help="Plot the figures.", no_args_is_help=True, rich_help_panel="Workflow steps")
for name, summary in PLOT.items():
    plot.add_command(LazyCommand(name, "qhyvit.cli.plot", f"plot_{_module(name)}", summary))
app.add_command(plot)


def main() -> None:
    """Run the command line."""
    collect_garbage_seldom()
    try:
        app()
    except InputError as error:
        _refuse(str(error))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        if _starts_a_program(error):
            _refuse(f"{error.filename}: no such program; install it, or add its folder to PATH")
        _refuse(f"{error}; correct the path, or run the command that writes the file")


def collect_garbage_seldom() -> None:
    """Collect garbage a hundred times less often: the objects of imports and traces live to the end, and each collection visits all."""
    gc.set_threshold(70_000)


def _starts_a_program(error: OSError) -> bool:
    return traceback.extract_tb(error.__traceback__)[-1].filename == subprocess.__file__


def _refuse(message: str) -> NoReturn:
    print(f"qhyvit: {message}", file=sys.stderr)
    raise SystemExit(2) from None
