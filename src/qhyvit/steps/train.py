"""Step `train`: the embedded weights, from scratch."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from qhyvit.config import Config
from qhyvit.data import cifar10
from qhyvit.data.labelled_folder import Transform
from qhyvit.errors import InputError
from qhyvit.evaluation.accuracy import top_k_correct
from qhyvit.files import atomic_write
from qhyvit.models.image_size import load_state
from qhyvit.models.training import train_cycle
from qhyvit.models.zoo import build, data_config, load_weights, make_transform


def train(config: Config, name: str, data: Path, output: Path, report: Path) -> None:
    """Train ``name`` on the full training set, write fp16 weights to ``output`` and their test accuracy to ``report`` (JSON).

    The checkpoints beside ``output`` let an interrupted run go on. The accuracy is that of the weights as stored.
    """
    experiment = config.experiment
    cycles = experiment.training.get(name)
    if not cycles:
        raise InputError(f"{name}: the experiment's section `training` does not have this model; see config/config.yaml for one")
    spec, classes = config.models[name], experiment.dataset.classes
    torch.manual_seed(cycles[0].seed)
    model = build(spec, classes, cycles[0].first_size)
    images, labels = (torch.from_numpy(array) for array in cifar10.load(data, "train"))
    settings = data_config(model, experiment.dataset)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for number, cycle in enumerate(cycles, start=1):
        trained, model = model, build(spec, classes, cycle.first_size)
        load_state(model, trained.cpu().state_dict())
        checkpoint = output.with_suffix(f".cycle{number}.checkpoint")
        train_cycle(model, images.permute(0, 3, 1, 2), labels, settings, cycle, checkpoint, device)
    _store(model, output)
    model = build(spec, classes, experiment.dataset.input_size)
    load_weights(model, output)
    test = cifar10.load(data, "test")
    top1 = test_accuracy(model.eval(), make_transform(model, experiment.dataset), *test)
    with atomic_write(report) as temporary:
        temporary.write_text(json.dumps({"model": name, "test_images": len(test[1]), "top1": top1}) + "\n")


def _store(model: nn.Module, path: Path) -> None:
    state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model.state_dict().items()}
    with atomic_write(path) as temporary:
        save_file({name: tensor.contiguous().cpu() for name, tensor in state.items()}, temporary)


@torch.no_grad()
def test_accuracy(model: nn.Module, transform: Transform, images: np.ndarray, labels: np.ndarray) -> float:
    """Top-1 in percent on uint8 ``images`` [N, H, W, 3], through the evaluation transform."""

    def predict(batch: np.ndarray) -> Tensor:
        return model(torch.stack([transform(Image.fromarray(image)) for image in batch]))

    logits = torch.cat([predict(images[start : start + 100]) for start in range(0, len(images), 100)])
    return 100 * float(top_k_correct(logits, torch.from_numpy(labels), 1).double().mean())
