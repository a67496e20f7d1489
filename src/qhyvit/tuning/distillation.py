"""Tune a quantized network so that its logits are those of the FP32 network, without labels.

The loss is the Kullback-Leibler divergence from the FP32 softmax (Hinton et al., arXiv 1503.02531), over calibration images and their
mirror images. Everything that is learnt is learnt at once, by Adam. A tenth of the images is held out, and the step with the least
divergence there is taken; the start is one of them. Where the divergence there rises by half at first, the learning rates are too large for
the network: the tuning begins again with a quarter of them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from qhyvit.calibration.losses import kl_loss
from qhyvit.config.tuning import LearningRates, TuningSettings
from qhyvit.errors import InputError
from qhyvit.graph.memory_layout import with_channels_last
from qhyvit.methods.task import Task
from qhyvit.progress import steps_with_note
from qhyvit.quantizers.base import Parameters, Quantizers
from qhyvit.tuning.checkpoint import Checkpoint, Progress
from qhyvit.tuning.learnt_network import LearntNetwork

HELD_OUT = 10  # one of so many images
CHECKS = 16  # divergences of the held-out images that are measured, at equal distances
RISE = 1.5  # of the divergence of the held-out images in the first quarter of the steps, by which learning rates are too large
RESTARTS = 3  # at most


def distill(
    task: Task, start: Quantizers, changed: Parameters, settings: TuningSettings, checkpoint: Checkpoint | None = None
) -> tuple[Quantizers, Parameters]:
    """Return the quantizers with tuned scales, and the parameters of the network that were tuned or were ``changed`` before.

    A ``checkpoint`` is written now and then, and if there is one the tuning continues from it. Raises InputError if an operand has no
    uniform quantizer, and for a single image.
    """
    generator = torch.Generator().manual_seed(task.calibration.seed)
    seen, held_out = _split(task.calibration.read(settings.images))
    batches = _batches(2 * len(seen), settings.batch_size, settings.steps, generator)

    def logits(network: torch.nn.Module, images: Tensor, count: int) -> Tensor:
        with torch.no_grad():
            return torch.cat([network(_take(images, numbers)) for numbers in torch.arange(count).split(settings.batch_size)])

    teacher = with_channels_last(task.model.graph_module)
    targets, expected = logits(teacher, seen, 2 * len(seen)), logits(teacher, held_out, len(held_out))
    network = LearntNetwork(task.model, start, changed)
    rates = _learning_rates(settings.learning_rates, task.weight_bits, task.activation_bits)
    optimizer, schedule = _optimizer(network, rates, settings.steps)
    begun = {name: value.detach().clone() for name, value in network.learnt_values().items()}

    def divergence() -> float:
        return float(kl_loss(logits(network, held_out, len(held_out)), expected, generator)) / len(held_out)

    progress = (checkpoint and checkpoint.restore(network.learnt_values(), optimizer, schedule)) or Progress.of_start(divergence())
    with steps_with_note(settings.steps, "tuning") as show:
        while progress.step < settings.steps:
            batch = batches[progress.step]
            loss = kl_loss(network(_take(seen, batch)), targets[batch], generator) / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            progress.step += 1
            if progress.step % max(1, settings.steps // CHECKS) == 0 or progress.step == settings.steps:
                progress.note(divergence(), network.learnt_values())
                if _rates_are_too_large(progress, settings.steps):
                    network.set_learnt_values(begun)
                    progress.begin_again()
                    optimizer, schedule = _optimizer(network, [rate / 4**progress.restarts for rate in rates], settings.steps)
                if checkpoint:
                    checkpoint.save(progress, network.learnt_values(), optimizer, schedule)
            show(progress.step, f"KL {loss.detach():.4f}, held out {progress.least:.4f}")
    if not progress.best:
        return start, changed
    network.set_learnt_values(progress.best)
    return network.quantizers(), network.parameters_changed()


def _rates_are_too_large(progress: Progress, steps: int) -> bool:
    """Tell if the divergence has risen at first, or is no number any more."""
    risen = not progress.latest <= RISE * progress.start
    return progress.step <= steps // 4 and risen and progress.restarts < RESTARTS


def _split(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the images to learn from, and those that are held out. Raises InputError for one image.

    The last of the draw are held out: a search and a correction have seen its first.
    """
    if len(images) < 2:
        raise InputError("images: tuning learns from some and holds others out, but there is one; give 32 to 1,024, or take another method")
    count = max(1, len(images) // HELD_OUT)
    return images[:-count], images[-count:]


def _take(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images of these numbers, which count on to their mirror images, with channels last: networks run faster so on CPUs."""
    taken = images[numbers % len(images)]
    mirrored = (numbers >= len(images)).view(-1, 1, 1, 1).to(images.device)
    return torch.where(mirrored, taken.flip(-1), taken).contiguous(memory_format=torch.channels_last)


def _learning_rates(rates: LearningRates, weight_bits: int, activation_bits: int) -> list[float]:
    """Return the rates of each group, halved for each bit above 4: the same change of a scale or value moves more integers."""
    of_weights, of_activations = (0.5 ** max(0, bits - 4) for bits in (weight_bits, activation_bits))
    return [
        rates.activation_scales * of_activations,
        rates.weight_scales * of_weights,
        rates.biases * of_activations,
        rates.weights * of_weights,
    ]


def _optimizer(network: LearntNetwork, rates: Sequence[float], steps: int) -> tuple[Adam, CosineAnnealingLR]:
    """Return Adam with a learning rate per group of what is learnt, and their fall to 0. What has a rate of 0 is not learnt."""
    groups = [network.scales(of_weights=False), network.scales(of_weights=True), network.vectors(), network.weight_values()]
    learnt = [{"params": parameters, "lr": rate} for parameters, rate in zip(groups, rates, strict=True) if parameters and rate]
    for group in learnt:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            parameter.requires_grad_(True)
    optimizer = Adam(learnt)
    return optimizer, CosineAnnealingLR(optimizer, steps)


def _batches(count: int, size: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return the image numbers of each step: permutations of all images, each without its last incomplete batch."""
    size = min(size, count)
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += torch.randperm(count, generator=generator)[: count // size * size].split(size)
    return batches[:steps]
