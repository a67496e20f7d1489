"""Train the embedded weights: progressive resizing, AdamW with one-cycle, label smoothing, bf16 autocast.

Every epoch ends with a checkpoint and draws its random numbers from its own seed, so that a resumed run takes the same steps as an
uninterrupted one.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from rich.progress import Progress
from safetensors.torch import save_file
from torch import Tensor, nn

from qhyvit.config.dataset import Dataset
from qhyvit.config.models import Model
from qhyvit.config.training import Cycle
from qhyvit.data.labelled_images import Transform
from qhyvit.errors import InputError
from qhyvit.files import atomic_write
from qhyvit.models.image_size import load_state
from qhyvit.models.zoo import build, data_config

CHECKPOINT = ".cycle{}.checkpoint"  # suffix, with the number of the cycle
CROP_PADDING = 4  # pixels at the images' own size, the usual augmentation of CIFAR-10


def normalize(images: Tensor, size: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Turn bytes [B, 3, H, W] into a model's input: bicubic resize to ``size`` pixels per side as in Pillow, (x / 255 - mean) / std."""
    resized = F.interpolate(images.float(), size=(size, size), mode="bicubic", antialias=True).clamp(0, 255)
    center, spread = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (mean, std))
    return ((resized / 255 - center) / spread).contiguous(memory_format=torch.channels_last)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop each image at random out of a reflected border and flip it at random: uint8 [B, 3, H, W] to uint8 [B, 3, H, W]."""
    batch, _, height, width = images.shape
    padded = F.pad(images.float(), [CROP_PADDING] * 4, mode="reflect").to(images.dtype)
    top, left = torch.randint(0, 2 * CROP_PADDING + 1, (2, batch, 1), generator=generator)
    rows = (top + torch.arange(height))[:, None, :, None]
    columns = left + torch.arange(width)
    flipped = torch.rand(batch, 1, generator=generator) < 0.5
    columns = torch.where(flipped, columns.flip(1), columns)[:, None, None, :]
    return padded[torch.arange(batch)[:, None, None, None], torch.arange(3)[None, :, None, None], rows, columns]


def train_cycles(spec: Model, dataset: Dataset, cycles: Sequence[Cycle], images: Tensor, labels: Tensor, output: Path) -> nn.Module:
    """Train the model ``spec`` from scratch on uint8 ``images`` [N, H, W, 3] and ``labels`` [N], one cycle after another.

    The checkpoint of each cycle lies next to ``output``; training resumes from the last one. `remove_checkpoints` removes them. Raises
    InputError if parameters of the network have other shapes at other image sizes of one cycle.
    """
    for cycle in cycles:
        _require_one_shape(spec, dataset, cycle)
    torch.manual_seed(cycles[0].seed)
    model = build(spec, dataset.classes, cycles[0].first_size)
    settings = data_config(model, dataset)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for number, cycle in enumerate(cycles, start=1):
        trained, model = model, build(spec, dataset.classes, cycle.first_size)
        load_state(model, trained.cpu().state_dict())
        checkpoint = output.with_suffix(CHECKPOINT.format(number))
        train_cycle(model, images.permute(0, 3, 1, 2), labels, settings, cycle, checkpoint, device)
    return model


def _require_one_shape(spec: Model, dataset: Dataset, cycle: Cycle) -> None:
    sizes = list(dict.fromkeys(cycle.epoch_sizes))
    shapes = [{name: value.shape for name, value in build(spec, dataset.classes, size).state_dict().items()} for size in sizes]
    if any(other != shapes[0] for other in shapes):
        raise InputError(
            f"training: {spec.constructor} has parameters of other shapes at each of {', '.join(map(str, sizes))} pixels; write one cycle"
            " per size"
        )


def remove_checkpoints(output: Path) -> None:
    """Remove the checkpoints next to ``output``, which another training would continue from, whatever code has made them."""
    for checkpoint in output.parent.glob(output.with_suffix(CHECKPOINT.format("*")).name):
        checkpoint.unlink()


def store_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict of ``model`` as safetensors, floating-point tensors in half precision."""
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file({name: tensor.contiguous().cpu() for name, tensor in state.items()}, temporary)


@torch.no_grad()
def top1_accuracy(model: nn.Module, transform: Transform, images: np.ndarray, labels: np.ndarray) -> float:
    """Measure top-1 in percent on uint8 ``images`` [N, H, W, 3] after the evaluation ``transform``."""

    def predict(batch: np.ndarray) -> Tensor:
        return model(torch.stack([transform(Image.fromarray(image)) for image in batch]))

    logits = torch.cat([predict(images[start : start + 100]) for start in range(0, len(images), 100)])
    return 100 * float((logits.argmax(dim=1) == torch.from_numpy(labels)).double().mean())


def train_cycle(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    settings: Mapping[str, Any],
    cycle: Cycle,
    checkpoint: Path,
    device: torch.device,
) -> None:
    """Train ``model`` in place for one cycle on uint8 ``images`` [N, 3, H, W] and ``labels`` [N].

    Resumes from ``checkpoint`` if it is of the same cycle, settings and weights, and writes the end of the cycle there; another one counts
    as none. ``settings`` holds the mean and std of the model's input.
    """
    key = _key(model, settings, cycle)
    torch.set_flush_denormal(True)
    for module in model.to(device).modules():
        if isinstance(module, nn.Conv2d):  # other parameters may have no other layout
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    sizes = cycle.epoch_sizes
    steps = len(images) // cycle.batch_size
    optimizer = torch.optim.AdamW(_parameter_groups(model, cycle.weight_decay), lr=cycle.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cycle.learning_rate, total_steps=len(sizes) * steps, pct_start=cycle.warmup)
    done = _resume(checkpoint, key, model, optimizer, schedule)
    with Progress() as progress:
        for epoch in range(done, len(sizes)):
            task = progress.add_task(f"epoch {epoch + 1}/{len(sizes)} at {sizes[epoch]} px", total=steps)
            model.train()
            torch.manual_seed(_epoch_seed(cycle.seed, epoch))  # of dropout
            total = 0.0
            for batch in _batches(len(images), cycle.batch_size, cycle.seed, epoch):
                generator = torch.Generator().manual_seed(int(batch[0]) + len(images) * (epoch + cycle.seed))
                inputs = normalize(augment(images[batch], generator).to(device), sizes[epoch], settings["mean"], settings["std"])
                with torch.autocast(device.type, torch.bfloat16):
                    logits = model(inputs)
                loss = F.cross_entropy(logits.float(), labels[batch].to(device), label_smoothing=cycle.label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
                progress.advance(task)
            progress.console.print(f"epoch {epoch + 1}: {sizes[epoch]} px, mean loss {total / steps:.4f}")
            _save(checkpoint, key, epoch + 1, model, optimizer, schedule)


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Exclude biases and normalization parameters from weight decay."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def _key(model: nn.Module, settings: Mapping[str, Any], cycle: Cycle) -> str:
    """Return a hash of the cycle, of the mean and std of the input, and of the weights at its start."""
    stated = {"cycle": cycle.model_dump(), "mean": list(settings["mean"]), "std": list(settings["std"])}
    digest = hashlib.sha256(json.dumps(stated, sort_keys=True).encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _epoch_seed(seed: int, epoch: int) -> int:
    return 1000 * seed + epoch


def _batches(count: int, size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    order = torch.randperm(count, generator=torch.Generator().manual_seed(_epoch_seed(seed, epoch)))
    return (order[start : start + size] for start in range(0, count - size + 1, size))


def _save(
    path: Path, key: str, epochs: int, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> None:
    state = {
        "key": key,
        "epochs": epochs,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
    }
    buffer = BytesIO()  # torch.save does not say why it could not write a file
    torch.save(state, buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _resume(
    path: Path, key: str, model: nn.Module, optimizer: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler
) -> int:
    """Load the checkpoint and return the number of its finished epochs; 0 without a checkpoint of this ``key``.

    Raises InputError for a file that cannot be read as a checkpoint.
    """
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")  # it may be of a GPU that is not here
        own = state["key"] == key
    except Exception as error:  # of several kinds, by PyTorch and its formats
        said = shorten(str(error), 200)
        raise InputError(f"{path}: not a checkpoint of training, or damaged ({said}); delete it, and train anew") from error
    if not own:
        return 0
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    return int(state["epochs"])
