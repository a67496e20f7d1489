"""CPU-seconds of parts of a job that a run on small images does not show, and the size of networks."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import fetch, measure
from qhyvit.config.loading import Config
from qhyvit.data.decoded import Batches, decode
from qhyvit.data.entries import Entry, pixel_hash, read_image
from qhyvit.data.labelled_images import LabelledImages, Transform
from qhyvit.evaluation.evaluation_set import BATCH_SIZE
from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.evaluation.statistics import drop_interval
from qhyvit.models.zoo import build, example_input, make_transform

PHOTOGRAPH = (500, 375)  # pixels; the size that most of ImageNet's images have


def network_sizes(config: Config) -> pd.DataFrame:
    """Return ``gmacs``, billions of multiply-accumulates per image, and ``parameters``, in millions, by model."""
    dataset = config.experiment.dataset
    rows = {}
    for name, spec in config.models.items():
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            model = build(spec, dataset.classes, dataset.input_size).eval()
            model(torch.zeros(example_input(model, dataset)[:1].shape))
        parameters = sum(parameter.numel() for parameter in model.parameters())
        rows[name] = counter.get_total_flops() / 2 / 1e9, parameters / 1e6
    return pd.DataFrame.from_dict(rows, orient="index", columns=["gmacs", "parameters"])


def start_seconds() -> float:
    """Measure the CPU-seconds until a process has imported all, loaded a network and traced it."""
    fetch()
    return measure("-m", "benchmarks.quantize_qhyvit", "percentile", "--prepare-only").cpu_seconds


def decode_seconds(config: Config, count: int = 50) -> float:
    """Measure the seconds to read, check and transform one photograph."""
    with TemporaryDirectory() as folder:
        images = LabelledImages([_photograph(Path(folder))], _transform(config))
        return _seconds(lambda: images[0], count)


def read_seconds(config: Config, count: int = 200) -> float:
    """Measure the seconds to read one photograph that was decoded before, and to make the input of a network of it."""
    with TemporaryDirectory() as folder:
        entries = [_photograph(Path(folder))] * count
        decoded = decode(entries, _transform(config), Path(folder) / "decoded")
        return _seconds(lambda: deque(Batches(decoded, BATCH_SIZE, range(count)), maxlen=0), 1) / count


def _photograph(folder: Path) -> Entry:
    noise = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    path = folder / "photograph.jpg"
    Image.fromarray(noise).resize(PHOTOGRAPH, Image.Resampling.BICUBIC).save(path, quality=95)
    return Entry(path, 0, pixel_hash(read_image(path)))


def _transform(config: Config) -> Transform:
    model = build(config.models[config.experiment.models[0]], config.experiment.dataset.classes)
    return make_transform(model, config.experiment.dataset)


def merge_seconds(classes: int, images: int = 5000) -> float:
    """Measure the seconds to compare the logits of one network for an image with those of FP32."""
    reference, logits = torch.randn(images, classes), torch.randn(images, classes)
    labels = torch.zeros(images, dtype=torch.int64)

    def compare() -> None:
        mean_kl(reference, logits)
        top1_correct(logits, labels)

    return _seconds(compare, 1) / images


def interval_seconds(images: int) -> float:
    """Measure the seconds of the bootstrap interval of one result on ``images`` images."""
    generator = np.random.default_rng(0)
    reference, correct = (generator.random(images) < share for share in (0.8, 0.79))
    return _seconds(lambda: drop_interval(reference, correct), 1)


def forward_seconds(config: Config, name: str, batch_size: int = 25) -> float:
    """Measure the seconds of the FP32 network per image, in batches."""
    dataset = config.experiment.dataset
    model = build(config.models[name], dataset.classes, dataset.input_size).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batch = torch.zeros(batch_size, *example_input(model, dataset).shape[1:]).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        model(batch)
        return _seconds(lambda: model(batch), 1) / batch_size


def _seconds(function: Callable[[], object], repetitions: int) -> float:
    start = process_time()
    for _ in range(repetitions):
        function()
    return (process_time() - start) / repetitions
