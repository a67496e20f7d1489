"""A network of the embedded experiment with its calibration images and evaluation images, and what it measures of quantizers."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple
from unittest.mock import patch

from torch import Tensor, nn
from torch.fx import GraphModule, Node

from benchmarks.common import EXPERIMENT, MANIFEST, SEED
from qhyvit.calibration import output_samples
from qhyvit.calibration.capture import SiteStatistics, capture
from qhyvit.calibration.output_samples import OutputCollector, OutputStatistics
from qhyvit.config.base import parse_bits
from qhyvit.config.loading import load_config
from qhyvit.config.methods import Method
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.data.decoded import Batches, decode
from qhyvit.data.manifest import read_manifest
from qhyvit.evaluation.evaluation_set import BATCH_SIZE
from qhyvit.evaluation.metrics import mean_kl, top1_correct
from qhyvit.evaluation.predict import predict
from qhyvit.evaluation.statistics import drop_interval
from qhyvit.graph import fold
from qhyvit.graph.nodes import tensor_of
from qhyvit.methods.task import CalibrationImages, Task
from qhyvit.models.loading import load_model

BITS = "w6a6"
IMAGES, POSITIONS = 32, 64  # of the protocol
Sampled = tuple[dict[str, SiteStatistics], dict[str, OutputStatistics]]


class Measured(NamedTuple):
    """Top-1 with quantizers on the evaluation images, in percent, as hits [N] and as a mean, and the KL divergence from FP32 in nats."""

    correct: Tensor
    kl: float

    @property
    def top1(self) -> float:
        """Top-1 in percent."""
        return 100 * float(self.correct.double().mean())


@dataclass
class Network:
    """One network of the experiment."""

    model: str

    def __post_init__(self) -> None:
        self.config = load_config(EXPERIMENT)
        self.folded: dict[str, Tensor] = {}  # by which BatchNorms multiplied weights [O], by the name of the layer's node
        with patch.object(fold, "_fold", self._fold):
            loaded = load_model(self.config, self.model)
        self.traced, transform = loaded.traced, loaded.transform
        entries = read_manifest(self.config.experiment.dataset, MANIFEST, "evaluation")
        decoded = decode(entries, transform, self.config.experiment.decoded)
        self.evaluation = Batches(decoded, BATCH_SIZE, range(len(entries)))
        self._transform = transform
        self._sampled: dict[tuple[int, int | None], Sampled] = {}

    @cached_property
    def fp32(self) -> Tensor:
        """Logits [N, classes] of the FP32 network."""
        return self._logits(self.traced.graph_module)

    @cached_property
    def fp32_top1(self) -> float:
        """Top-1 of the FP32 network, in percent."""
        return 100 * float(top1_correct(self.fp32, self.evaluation.images.labels).double().mean())

    def batches(self, images: int) -> list[Tensor]:
        """Return so many calibration images of the seed, in batches."""
        experiment = self.config.experiment
        return load_batches(experiment, calibration_entries(experiment, MANIFEST, SEED, images), self._transform)

    def task(self, method: Method, images: int, positions: int | None, *, rows_of_one_batch: bool = False) -> Task:
        """Return the task from so many images and positions; the rows may be all of the last batch alone."""
        statistics, outputs = self._statistics(images, positions)
        batches = self.batches(images)
        if rows_of_one_batch:
            with patch.object(output_samples, "OUTPUT_POSITIONS", sys.maxsize):
                sites, of_outputs = self._sample(batches[-1:], None)
            statistics = {name: _one_batch(statistics[name], found) for name, found in sites.items()}
            outputs = {name: OutputStatistics(outputs[name].range, found.sample) for name, found in of_outputs.items()}
        source = CalibrationImages(lambda: batches, positions, SEED)
        return Task(self.traced, statistics, outputs, source, method, *parse_bits(BITS))

    def measure(self, network: nn.Module) -> Measured:
        """Run a quantized network on the evaluation images."""
        logits = self._logits(network)
        return Measured(top1_correct(logits, self.evaluation.images.labels), mean_kl(self.fp32, logits))

    def change(self, before: Measured, after: Measured) -> tuple[float, float, float]:
        """Return how many points of top-1 are lost from ``before`` to ``after``, with the paired interval."""
        return before.top1 - after.top1, *drop_interval(before.correct.numpy(), after.correct.numpy())

    def _fold(self, graph_module: GraphModule, layer: Node, norm: Node, original: Callable[..., None] = fold._fold) -> None:
        arguments: Any = norm.args
        gamma, variance = tensor_of(graph_module, arguments[1]), tensor_of(graph_module, arguments[4])
        assert gamma is not None
        assert variance is not None
        self.folded[layer.name] = gamma * (variance + arguments[7]).rsqrt()
        original(graph_module, layer, norm)

    def _logits(self, network: nn.Module) -> Tensor:
        (logits,), _ = predict([network], self.evaluation)
        return logits

    def _statistics(self, images: int, positions: int | None) -> Sampled:
        if (images, positions) not in self._sampled:
            self._sampled[images, positions] = self._sample(self.batches(images), positions)
        return self._sampled[images, positions]

    def _sample(self, batches: Sequence[Tensor], positions: int | None) -> Sampled:
        outputs = OutputCollector(self.traced.output_sites, len(batches), SEED)
        sites = capture(self.traced.graph_module, self.traced.sites, batches, positions, SEED, collectors=[outputs])
        return sites, outputs.statistics()


def _one_batch(statistics: SiteStatistics, last: SiteStatistics) -> SiteStatistics:
    """Return the ranges of all batches as if they were one, with the rows of the last."""
    joined = {
        name: replace(found, lows=found.low[None], highs=found.high[None], counts=(found.count,))
        for name, found in statistics.ranges.items()
    }
    return SiteStatistics(joined, last.read_rows)
