"""The command line: one command a workflow rule. Exit codes: 0 done, 2 bad input (one line says what, where and how to mend it), 1 else."""

import gc
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer

from qhyvit.config import load_config
from qhyvit.errors import InputError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help=__doc__.partition(":")[0])
fetch = typer.Typer(no_args_is_help=True, help="Get images and weights, and check them.")
plot = typer.Typer(no_args_is_help=True, help="Draw the figures.")
app.add_typer(fetch, name="fetch")
app.add_typer(plot, name="plot")

Config = Annotated[Path, typer.Option(envvar="QHYVIT_CONFIG", help="The experiment, a YAML file.")]
Model = Annotated[str, typer.Option(help="A model of the experiment.")]
Method = Annotated[str, typer.Option(help="A method of the experiment.")]
Table = Annotated[Path, typer.Option(help="The CSV file to write.")]
Markdown = Annotated[Path, typer.Option(help="The same table in Markdown.")]
Mode = Annotated[
    Literal["partial", "full"], typer.Option(help="What is rounded: partial, the operands of products; full, all between them too.")
]
Bits = Annotated[str, typer.Option(help="Bits of weights and activations, as in w8a8.")]
Seed = Annotated[int, typer.Option(help="Draws the calibration images, their sampled labels and positions.")]
Images = Annotated[Path, typer.Option(help="The manifest that `qhyvit fetch images` wrote.")]
Output = Annotated[Path, typer.Option(help="The file to write.")]
Threads = Annotated[int, typer.Option(help="CPU threads. Results are the same bytes only for the same number.")]


@fetch.command("images")
def fetch_images(config: Config, output: Output) -> None:
    """Pull the image set with DVC where it is tracked, check every image, and write its manifest."""
    from qhyvit.steps.fetch import fetch_images

    fetch_images(load_config(config), output)


@fetch.command("weights")
def fetch_weights(config: Config, model: Model, output: Output) -> None:
    """Pull a model's weights with DVC where they are tracked, check that they fit, and write a receipt with their hash."""
    from qhyvit.steps.fetch import fetch_weights

    fetch_weights(load_config(config), model, output)


@fetch.command("checkpoint")
def fetch_checkpoint(
    checkpoint: Annotated[Path, typer.Argument(help="A PyTorch checkpoint that holds a state dict.")],
    output: Annotated[Path, typer.Option(help="The safetensors file to write.")],
) -> None:
    """Convert a checkpoint fetched by hand, as Mobile-Former's, to safetensors; nothing but tensors is unpickled."""
    from qhyvit.models.weights import convert_checkpoint

    convert_checkpoint(checkpoint, output)


@fetch.command("cifar10")
def fetch_cifar10(
    output: Annotated[Path, typer.Option(help="The folder for the full set, as safetensors.")],
    sample: Annotated[Path, typer.Option(help="The folder for the embedded sample, as PNG files.")],
) -> None:
    """Fetch the full CIFAR-10, which training needs, and cut the embedded sample out of it."""
    from qhyvit.steps.fetch import fetch_cifar10

    fetch_cifar10(output, sample)


@app.command()
def train(
    config: Config,
    model: Model,
    data: Annotated[Path, typer.Option(help="The folder that `qhyvit fetch cifar10` wrote.")],
    output: Output,
    report: Annotated[Path, typer.Option(help="The JSON file for the accuracy on all 10,000 test images.")],
    threads: Threads = 2,
) -> None:
    """Train a model's embedded weights from scratch; resumes where an earlier run stopped."""
    _use_threads(threads)
    from qhyvit.steps.train import train

    train(load_config(config), model, data, output, report)


@app.command()
def calibrate(
    config: Config,
    model: Model,
    seed: Seed,
    images: Images,
    output: Output,
    count: Annotated[int | None, typer.Option(min=1, help="How many images to draw; default: calibration.images.")] = None,
    threads: Threads = 1,
) -> None:
    """Capture ranges, sampled rows and Fisher gradients of every site, for all methods to share."""
    _use_threads(threads)
    from qhyvit.steps.calibrate import calibrate

    calibrate(load_config(config), model, seed, images, output, count)


@app.command()
def quantize(
    config: Config,
    model: Model,
    method: Method,
    mode: Mode,
    bits: Bits,
    images: Images,
    calibration: Annotated[Path, typer.Option(help="What `qhyvit calibrate` wrote.")],
    output: Output,
    errors: Annotated[Path, typer.Option(help="The CSV file for the error of each site.")],
    partial: Annotated[Path | None, typer.Option(help="What the same method wrote in partial mode: full mode adds to it.")] = None,
    threads: Threads = 1,
) -> None:
    """Find the quantizers of a network with one method in one mode at one bit-width."""
    _use_threads(threads)
    from qhyvit.steps.quantize import quantize

    quantize(load_config(config), model, method, mode, bits, images, calibration, output, errors, partial)


Quantized = Annotated[
    list[Path] | None,
    typer.Option(help="What `qhyvit quantize` wrote, any number; without it the FP32 network is evaluated."),
]


@app.command()
def predict(
    config: Config,
    model: Model,
    images: Images,
    shard: Annotated[int, typer.Option(help="Which of the experiment's evaluation.shards, from 1.")],
    output: Output,
    quantized: Quantized = None,
    threads: Threads = 1,
) -> None:
    """Run networks over a shard of the evaluation images, for `qhyvit evaluate` to merge with the others."""
    _use_threads(threads)
    from qhyvit.steps.predict import predict_shard

    predict_shard(load_config(config), model, images, quantized or [], shard, output)


@app.command()
def evaluate(
    config: Config,
    model: Model,
    images: Images,
    output: Annotated[list[Path], typer.Option(help="The file to write; one for each --quantized, in the same order.")],
    logits: Annotated[Path, typer.Option(help="Logits of the FP32 network: written without --quantized, compared with otherwise.")],
    quantized: Quantized = None,
    shard: Annotated[
        list[Path] | None, typer.Option(help="What `qhyvit predict` wrote: all shards, in order. Without it the networks are run here.")
    ] = None,
    threads: Threads = 1,
) -> None:
    """Measure the accuracy on the evaluation images."""
    _use_threads(threads)
    from qhyvit.steps.evaluate import evaluate_fp32, evaluate_quantized

    if len(output) != len(quantized or [None]):
        raise InputError(f"{len(output)} --output for {len(quantized or [])} --quantized; give one for each")
    if not quantized:
        evaluate_fp32(load_config(config), model, images, output[0], logits, shard or [])
    else:
        evaluate_quantized(load_config(config), model, images, quantized, logits, output, shard or [])


@app.command()
def challenges(
    config: Config,
    model: Model,
    calibration: Annotated[Path, typer.Option(help="What `qhyvit calibrate` wrote.")],
    output: Annotated[Path, typer.Option(help="The CSV file for ranges and zero-point overflow of each activation.")],
    channels: Annotated[Path, typer.Option(help="The CSV file for the range of each channel.")],
    norms: Annotated[Path, typer.Option(help="The CSV file for the norms.")],
    summary: Annotated[Path, typer.Option(help="The JSON file for counts and shares of the whole network.")],
    threads: Threads = 1,
) -> None:
    """Measure what makes a network hard to quantize: channel ranges, zero-point overflow, norms, residual branches."""
    _use_threads(threads)
    from qhyvit.steps.challenges import challenges

    challenges(load_config(config), model, calibration, output, channels, norms, summary)


@app.command()
def sensitivity(
    config: Config,
    model: Model,
    images: Images,
    quantized: Annotated[Path, typer.Option(help="What `qhyvit quantize` wrote, in mode partial.")],
    output: Output,
    threads: Threads = 1,
) -> None:
    """Measure what each site costs the whole network: quantized alone, and as the only one that is not."""
    _use_threads(threads)
    from qhyvit.steps.sensitivity import sensitivity

    sensitivity(load_config(config), model, images, quantized, output)


@app.command()
def inspect(
    model: Annotated[str, typer.Argument(help="A model of the zoo, or any constructor of timm's.")],
    zoo: Annotated[Path, typer.Option(help="The zoo, a YAML file.")] = Path("config/models.yaml"),
    json: Annotated[Path | None, typer.Option(help="A JSON file to write the same to.")] = None,
    svg: Annotated[Path | None, typer.Option(help="An SVG file to draw the sites and bridge blocks to.")] = None,
    sensitivity: Annotated[Path | None, typer.Option(help="What `qhyvit sensitivity` wrote, to be shown beside the sites.")] = None,
) -> None:
    """Show the quantization sites, bridge blocks and norms of a network."""
    from qhyvit.steps.inspect import inspect

    inspect(model, zoo, json, svg, sensitivity)


@app.command()
def aggregate(
    results: Annotated[list[Path], typer.Argument(help="What `qhyvit evaluate` wrote.")],
    images: Images,
    output: Annotated[Path, typer.Option(help="The CSV file for all results.")],
    hits: Annotated[Path, typer.Option(help="The CSV file for the hits of each run, image by image.")],
    metrics: Annotated[Path, typer.Option(help="The JSON file for `dvc metrics diff`.")],
    table: Annotated[Path, typer.Option(help="The CSV file for the table of accuracies.")],
    markdown: Markdown,
) -> None:
    """Gather all results into one table, with intervals, and into the summaries made of it."""
    from qhyvit.steps.aggregate import aggregate

    aggregate(results, images, output, hits, metrics, table, markdown)


@app.command("aggregate-challenges")
def aggregate_challenges(
    activations: Annotated[list[Path], typer.Argument(help="The outputs of `qhyvit challenges`, one a model.")],
    summary: Annotated[list[Path], typer.Option(help="The summary of a model; give one for each.")],
    output: Annotated[Path, typer.Option(help="The CSV file for the activations of all models.")],
    table: Annotated[Path, typer.Option(help="The CSV file for a table of one row a model.")],
    markdown: Markdown,
) -> None:
    """Gather the challenges of all models into one table, and into a summary made of it."""
    from qhyvit.steps.aggregate_challenges import aggregate_challenges

    aggregate_challenges(activations, summary, output, table, markdown)


@app.command()
def diff(
    config: Config,
    revision: Annotated[str, typer.Argument(help="A git revision, as HEAD~1.")] = "HEAD",
) -> None:
    """Show what changed in results.csv since a git revision; exit code 1 says that a run got worse by more than chance explains."""
    from qhyvit.steps.diff import diff

    if diff(load_config(config, allow_unset_env=True).experiment.reports, revision):
        raise typer.Exit(1)


@app.command()
def compare(
    results: Annotated[Path, typer.Argument(help="The results of `qhyvit aggregate`.")],
    paper: Annotated[Path, typer.Option(help="The folder of the published numbers.")],
    output: Annotated[Path, typer.Option(help="The folder for the tables, each as CSV, Markdown and LaTeX.")],
) -> None:
    """Set the results beside the published ones: Tables II to IV, and the mean improvement over each baseline."""
    from qhyvit.steps.compare import compare

    compare(results, paper, output)


@app.command()
def paired(
    hits: Annotated[Path, typer.Argument(help="The hits of `qhyvit aggregate`.")],
    table: Table,
    markdown: Markdown,
) -> None:
    """Show how far Q-HyViT is above every other method, and whether by more than chance."""
    from qhyvit.steps.paired import compare_in_pairs

    compare_in_pairs(hits, table, markdown)


@app.command()
def ablation(
    hits: Annotated[Path, typer.Argument(help="The hits of `qhyvit aggregate`.")],
    table: Table,
    markdown: Markdown,
) -> None:
    """Show what each step of Q-HyViT's search adds to the one before, and whether more than chance."""
    from qhyvit.steps.paired import compare_steps

    compare_steps(hits, table, markdown)


@app.command()
def seeds(
    results: Annotated[Path, typer.Argument(help="The results of `qhyvit aggregate`.")],
    table: Table,
    markdown: Markdown,
) -> None:
    """Show how much each result changes with its seed."""
    from qhyvit.steps.seeds import seeds

    seeds(results, table, markdown)


@app.command()
def timings(
    results: Annotated[Path, typer.Argument(help="The results of `qhyvit aggregate`.")],
    benchmarks: Annotated[Path, typer.Option(help="The folder of Snakemake's benchmark files of the data set.")],
    paper: Annotated[Path, typer.Option(help="The folder of the published numbers.")],
    output: Annotated[Path, typer.Option(help="The folder for the tables.")],
) -> None:
    """Show what each method costs in time, beside the published means."""
    from qhyvit.steps.timings import timings

    timings(results, benchmarks, paper, output)


@app.command()
def provenance(
    quantized: Annotated[list[Path], typer.Argument(help="What `qhyvit quantize` wrote.")],
    config: Config,
    configuration: Annotated[Path, typer.Option(help="The CSV file for settings and software.")],
    runs: Annotated[Path, typer.Option(help="The CSV file for the origin of each quantized network.")],
) -> None:
    """Gather what the report rests on: settings, software, commits and hashes."""
    from qhyvit.steps.provenance import provenance

    provenance(load_config(config), quantized, configuration, runs)


@app.command()
def pages(
    tables: Annotated[list[Path], typer.Argument(help="CSV files.")],
    title: Annotated[list[str], typer.Option(help="Of a page; one for each table, in the same order.")],
    caption: Annotated[list[str], typer.Option(help="What a table shows; one for each.")],
    output: Annotated[list[Path], typer.Option(help="The HTML file to write; one for each.")],
) -> None:
    """Make pages of tables that sort and filter in a browser, without a network."""
    from qhyvit.steps.pages import pages

    pages(tables, title, caption, output)


Results = Annotated[Path, typer.Argument(help="The results of `qhyvit aggregate`.")]
Svg = Annotated[Path, typer.Option(help="The SVG file to write.")]
Png = Annotated[Path, typer.Option(help="The PNG file to write.")]


@app.command()
def calibration_size(
    results: Annotated[list[Path], typer.Argument(help="What `qhyvit evaluate` wrote, FP32 included.")],
    output: Output,
    svg: Svg,
    png: Png,
) -> None:
    """Tabulate and draw the drop by number of calibration images."""
    from qhyvit.steps.calibration_size import report_calibration_size

    report_calibration_size(results, output, svg, png)


@plot.command("accuracy")
def plot_accuracy(results: Results, mode: Mode, svg: Svg, png: Png) -> None:
    """Accuracy by bit-width and method."""
    from qhyvit.steps.plot import plot_accuracy

    plot_accuracy(results, mode, svg, png)


@plot.command("drops")
def plot_drops(results: Results, mode: Mode, svg: Svg, png: Png) -> None:
    """The drop of each method, with its interval."""
    from qhyvit.steps.plot import plot_drops

    plot_drops(results, mode, svg, png)


@plot.command("seeds")
def plot_seeds(results: Results, mode: Mode, svg: Svg, png: Png) -> None:
    """How far the seeds of each run are from their mean."""
    from qhyvit.steps.plot import plot_seeds

    plot_seeds(results, mode, svg, png)


@plot.command("ablation")
def plot_ablation(results: Results, mode: Mode, svg: Svg, png: Png) -> None:
    """What each step of the search adds."""
    from qhyvit.steps.plot import plot_ablation

    plot_ablation(results, mode, svg, png)


@plot.command("timings")
def plot_timings(
    results: Results,
    seconds: Annotated[Path, typer.Option(help="The seconds of each run, of `qhyvit timings`.")],
    mode: Mode,
    svg: Svg,
    png: Png,
) -> None:
    """The drop of each method against the time that it takes."""
    from qhyvit.steps.plot import plot_timings

    plot_timings(results, seconds, mode, svg, png)


@plot.command("site-errors")
def plot_site_errors(
    errors: Annotated[list[Path], typer.Argument(help="Site errors of one model, of `qhyvit quantize`.")], svg: Svg, png: Png
) -> None:
    """What quantization costs at each site of a model."""
    from qhyvit.steps.plot import plot_site_errors

    plot_site_errors(errors, svg, png)


@plot.command("channel-ranges")
def plot_channel_ranges(
    channels: Annotated[Path, typer.Argument(help="The channels of one model, of `qhyvit challenges`.")], svg: Svg, png: Png
) -> None:
    """How far the ranges of an activation's channels differ, at each site of a model."""
    from qhyvit.steps.plot import plot_channel_ranges

    plot_channel_ranges(channels, svg, png)


@plot.command("zero-point-overflow")
def plot_zero_point_overflow(
    activations: Annotated[Path, typer.Argument(help="The output of `qhyvit aggregate-challenges`.")], svg: Svg, png: Png
) -> None:
    """Where zero points overflow in all models."""
    from qhyvit.steps.plot import plot_zero_point_overflow

    plot_zero_point_overflow(activations, svg, png)


@plot.command("bridge-sites")
def plot_bridge_sites(
    channels: Annotated[list[Path], typer.Argument(help="The channels of all models, of `qhyvit challenges`.")],
    activations: Annotated[Path, typer.Option(help="The output of `qhyvit aggregate-challenges`.")],
    svg: Svg,
    png: Png,
) -> None:
    """Channel ranges and zero-point overflow at the sites of bridge blocks, against all others."""
    from qhyvit.steps.plot import plot_bridge_sites

    plot_bridge_sites(channels, activations, svg, png)


@plot.command("sensitivity")
def plot_sensitivity(
    sensitivity: Annotated[Path, typer.Argument(help="The output of `qhyvit sensitivity`.")],
    svg: Svg,
    png: Png,
    title: Annotated[str, typer.Option(help="Of the figure.")],
) -> None:
    """The sites that cost most."""
    from qhyvit.steps.plot import plot_sensitivity

    plot_sensitivity(sensitivity, svg, png, title)


def main() -> None:
    """Run the command line."""
    collect_garbage_seldom()
    try:
        app()
    except InputError as error:
        _refuse(str(error))
    except FileNotFoundError as error:
        _refuse(f"{error}; mend the path, or run the command that writes the file")


def collect_garbage_seldom() -> None:
    """Look for garbage a hundred times less often: what a command imports and traces stays to its end, and each look takes in all of it."""
    gc.set_threshold(70_000)


def _refuse(message: str) -> NoReturn:
    print(f"qhyvit: {message}", file=sys.stderr)
    raise SystemExit(2) from None


def _use_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
