"""Tune a quantized network so that its logits are those of the FP32 network, without labels.

The loss is the Kullback-Leibler divergence from the FP32 softmax (Hinton et al., arXiv 1503.02531), over calibration images and their
mirror images. Everything that is learnt is learnt at once, by Adam. A tenth of the images is held out, and the step with the least
divergence there is taken; the start is one of them.
"""

import torch
from torch import Tensor

from qhyvit.calibration.losses import kl_loss
from qhyvit.config.tuning import LearningRates, TuningSettings
from qhyvit.errors import InputError
from qhyvit.methods.task import Task
from qhyvit.progress import steps_with_note
from qhyvit.quantizers.base import Parameters, Quantizers
from qhyvit.tuning.checkpoint import Checkpoint, Progress
from qhyvit.tuning.learnt_network import LearntNetwork

HELD_OUT = 10  # one of so many images
CHECKS = 16  # divergences of the held-out images that are measured, at equal distances


def distill(
    task: Task, start: Quantizers, changed: Parameters, settings: TuningSettings, checkpoint: Checkpoint | None = None
) -> tuple[Quantizers, Parameters]:
    """Return the quantizers with tuned scales, and the parameters of the network that were tuned or were ``changed`` before.

    A ``checkpoint`` is written now and then, and if there is one the tuning continues from it. Raises InputError if an operand has no
    uniform quantizer, and for a single image.
    """
    generator = torch.Generator().manual_seed(task.calibration.seed)
    seen, held_out = _split(task.calibration.read(settings.images), generator)
    batches = _batches(2 * len(seen), settings.batch_size, settings.steps, generator)

    def logits(network: torch.nn.Module, images: Tensor, count: int) -> Tensor:
        with torch.no_grad():
            return torch.cat([network(_take(images, numbers)) for numbers in torch.arange(count).split(settings.batch_size)])

    targets, expected = logits(task.model.graph_module, seen, 2 * len(seen)), logits(task.model.graph_module, held_out, len(held_out))
    network = LearntNetwork(task.model, start, changed)
    optimizer = _optimizer(network, settings.learning_rates, task.weight_bits, task.activation_bits)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.steps)

    def divergence() -> float:
        return float(kl_loss(logits(network, held_out, len(held_out)), expected, generator))

    progress = (checkpoint and checkpoint.restore(network.learnt_values(), optimizer, schedule)) or Progress(0, divergence())
    with steps_with_note(settings.steps - progress.step, "tuning") as end_step:
        for step in range(progress.step + 1, settings.steps + 1):
            batch = batches[step - 1]
            loss = kl_loss(network(_take(seen, batch)), targets[batch], generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % max(1, settings.steps // CHECKS) == 0 or step == settings.steps:
                progress.note(step, divergence(), network.learnt_values())
                if checkpoint:
                    checkpoint.save(progress, network.learnt_values(), optimizer, schedule)
            end_step(f"KL {loss.detach():.4f}, held out {progress.least:.4f}")
    if not progress.best:
        return start, changed
    network.set_learnt_values(progress.best)
    return network.quantizers(), network.parameters_changed()


def _split(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the images to learn from, and those that are held out. Raises InputError for one image."""
    if len(images) < 2:
        raise InputError("images: tuning learns from some and holds others out, but there is one; give 32 to 1,024, or take another method")
    order = torch.randperm(len(images), generator=generator)
    count = max(1, len(images) // HELD_OUT)
    return images[order[count:]], images[order[:count]]


def _take(images: Tensor, numbers: Tensor) -> Tensor:
    """Return the images of these numbers, which count on to their mirror images, with channels last: networks run faster so on CPUs."""
    taken = images[numbers % len(images)]
    mirrored = (numbers >= len(images)).view(-1, 1, 1, 1).to(images.device)
    return torch.where(mirrored, taken.flip(-1), taken).contiguous(memory_format=torch.channels_last)


def _optimizer(network: LearntNetwork, rates: LearningRates, weight_bits: int, activation_bits: int) -> torch.optim.Adam:
    """Return Adam with a learning rate per group, halved for each bit above 4: the same change of a scale or value moves more integers."""
    of_weights, of_activations = (0.5 ** max(0, bits - 4) for bits in (weight_bits, activation_bits))
    groups = [
        (network.scales(of_weights=False), rates.activation_scales * of_activations),
        (network.scales(of_weights=True), rates.weight_scales * of_weights),
        (network.vectors(), rates.biases * of_activations),
        (network.weight_values(), rates.weights * of_weights),
    ]
    learnt = [{"params": parameters, "lr": rate} for parameters, rate in groups if parameters and rate]
    for group in learnt:
        for parameter in group["params"]:  # type: ignore[attr-defined]
            parameter.requires_grad_(True)
    return torch.optim.Adam(learnt)


def _batches(count: int, size: int, steps: int, generator: torch.Generator) -> list[Tensor]:
    """Return the numbers of the images of each step: all are drawn once before any is drawn again, and each step has as many."""
    size = min(size, count)
    batches: list[Tensor] = []
    while len(batches) < steps:
        batches += torch.randperm(count, generator=generator)[: count // size * size].split(size)
    return batches[:steps]
