"""Command `fetch subset`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml

from qhyvit.config.base import LARGEST_PANDAS_SEED, check_dataset_name, check_variables
from qhyvit.config.dataset import IMAGENET_CLASSES, Dataset, Subset
from qhyvit.config.loading import Config, load_config
from qhyvit.data.dvc import tracked_hash
from qhyvit.data.private_remote import PRIVATE
from qhyvit.data.sharing import require_private_remote
from qhyvit.data.subset import RECORD, write_subset
from qhyvit.errors import InputError
from qhyvit.files import atomic_write

BASE, EXPERIMENTS = Path("config/experiments/imagenet.yaml"), Path("config/experiments")
HEADER = "# Made by `qhyvit fetch subset` (docs/imagenet-subsets.md); {record} has the images per class and the seed\n"


def fetch_subset(
    imagenet: Annotated[Path, typer.Option(help="Folder with train and val, as folders or as the archives of image-net.org.")],
    name: Annotated[str, typer.Option(help="Name of the subset, of its folder and of its experiment.")],
    evaluation: Annotated[int, typer.Option(min=1, help="Images per class of the validation split.")] = 5,
    calibration: Annotated[int, typer.Option(min=1, help="Images per class of the training split.")] = 1,
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_PANDAS_SEED, help="Seed of both draws.")] = 0,
    classes: Annotated[int, typer.Option(min=2, help="Number of classes.")] = IMAGENET_CLASSES,
    base: Annotated[Path, typer.Option(help="Experiment with all other settings.")] = BASE,
) -> None:
    """Draw a subset of ImageNet into a folder of its own, with an experiment for it; `qhyvit share` pushes the folder.

    Images are copied as they are. The same settings draw the same images; a subset that is there is not drawn again.
    """
    with _refused_as("name"):
        check_dataset_name(name)
    with _refused_as("--imagenet"):
        check_variables(imagenet)
    require_private_remote()  # before minutes of drawing
    settings = load_config(base, allow_unset_env=True)
    folder, experiment = PRIVATE / name, EXPERIMENTS / f"{name}.yaml"
    if experiment.exists():
        _require_subset(experiment, folder, classes)
    dataset = Dataset(
        name=name,
        layout="imagenet",
        classes=classes,
        calibration=imagenet / "train",
        evaluation=imagenet / "val",
        subset=Subset(calibration=calibration, evaluation=evaluation, seed=seed),
    )
    write_subset(dataset, folder)
    if not experiment.exists():
        _write_experiment(experiment, folder, dataset, base, settings)
    typer.echo(f"{folder}: {classes * (evaluation + calibration)} images, for {experiment}")


@contextmanager
def _refused_as(option: str) -> Iterator[None]:
    """Turn a ValueError into an InputError that begins with the name of the option."""
    try:
        yield
    except ValueError as error:
        raise InputError(f"{option} {error}") from error


def _require_subset(path: Path, folder: Path, classes: int) -> None:
    """Raise InputError if the experiment ``path`` is on other images than those of ``folder``, or of another number of classes."""
    dataset = load_config(path, allow_unset_env=True).experiment.dataset
    if (dataset.calibration, dataset.evaluation) != (folder / "calibration", folder / "evaluation"):
        raise InputError(f"{path}: is an experiment on other images than those of {folder}; give the subset another name")
    if dataset.classes != classes:
        raise InputError(
            f"{path}: is an experiment on {dataset.classes} classes, not {classes}; remove it, or give the subset another name"
        )


def _write_experiment(path: Path, folder: Path, dataset: Dataset, base: Path, settings: Config) -> None:
    """Write an experiment on the subset: that of ``base``, with those of its models whose weights can be had."""
    content = {
        "base": str(base),
        "dataset": {"name": dataset.name, "classes": dataset.classes}
        | {split: str(folder / split) for split in ("calibration", "evaluation")}
        | settings.experiment.dataset.preprocessing,
        "models": [name for name in settings.experiment.models if _obtainable(settings, name)] or settings.experiment.models,
    }
    with atomic_write(path) as temporary:
        temporary.write_text(HEADER.format(record=folder / RECORD) + yaml.safe_dump(content, sort_keys=False))


def _obtainable(settings: Config, model: str) -> bool:
    path = settings.weights_path(model)
    return settings.models[model].source is not None or path.exists() or tracked_hash(path) is not None
