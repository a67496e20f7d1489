"""Experiment file: which models, methods and bit-widths run on which images."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StrictInt, TypeAdapter, model_validator

from qhyvit.config.base import (
    LARGEST_BATCH,
    LARGEST_SEED,
    LARGEST_SHARDS,
    BitWidth,
    Device,
    Folder,
    MethodName,
    Mode,
    Name,
    PathText,
    PlainPath,
    Strict,
)
from qhyvit.config.dataset import Dataset
from qhyvit.config.deployment import Deployment
from qhyvit.config.runs import ListedRuns, refuse_doubles
from qhyvit.config.training import Cycle


class Calibration(Strict):
    """Section `calibration`: the images and the samples of each site that all methods share."""

    images: StrictInt = Field(default=32, gt=0, description="number of calibration images that a seed draws")
    sampled_positions: StrictInt | None = Field(default=64, gt=0, description="sampled output positions per image and site; null: all")
    batch_size: StrictInt = Field(default=4, gt=0, le=LARGEST_BATCH, description="images that pass a network together")


class Sensitivity(ListedRuns):
    """Section `sensitivity`: the runs whose sites are measured one by one."""

    methods: list[MethodName] = Field(default=[], description="methods of the experiment; their runs with the first seed, in mode partial")
    images: StrictInt = Field(default=64, gt=0, description="number of calibration images, none of which the calibration used")


class Evaluation(Strict):
    """Section `evaluation`: how the evaluation of a run is divided into jobs."""

    shards: StrictInt = Field(
        default=1,
        gt=0,
        le=LARGEST_SHARDS,
        description="number of jobs that each evaluate some batches of the images; the merged results are byte-identical for any number",
    )


class Experiment(Strict):
    """Experiment file. Its defaults are those of the embedded one, config/config.yaml, except `methods`, `training` and `reports`."""

    dataset: Dataset
    weights: PathText = Field(
        pattern=r"\{model\}",
        description="path of the weights; {model} stands for the model's name, and the path may begin with an environment variable",
    )
    models: list[Name] = Field(min_length=1, description="names in `models_file` or in timm's registry")
    methods: list[MethodName] = Field(default=["percentile", "qhyvit", "qhyvit-cv"], min_length=1)
    modes: list[Mode] = Field(default=["partial"], min_length=1)
    bits: list[BitWidth] = Field(default=["w8a8", "w6a6"], min_length=1)
    seeds: list[Annotated[StrictInt, Field(ge=0, le=LARGEST_SEED)]] = Field(default=[0], min_length=1)
    calibration: Calibration = Calibration()
    calibration_sizes: list[Annotated[StrictInt, Field(gt=0)]] = Field(
        default=[], description="further numbers of calibration images; all runs are repeated with each"
    )
    evaluation: Evaluation = Evaluation()
    device: Device = Field(default="cpu", description="where networks are calibrated and evaluated; auto: on a GPU if there is one")
    sensitivity: Sensitivity = Sensitivity()
    deployment: Deployment = Deployment()
    training: dict[Name, list[Cycle]] = Field(
        default={}, description="cycles per model, for `qhyvit train`; each starts from the weights of the one before"
    )
    models_file: PlainPath = Path("config/models.yaml")
    methods_file: PlainPath = Path("config/methods.yaml")
    results: Folder = Field(default=Path("results"), description="folder of intermediate files")
    decoded: PlainPath = Field(
        default=Path("results/decoded"),
        description="folder of decoded evaluation images, which all experiments may share: 3 bytes per pixel, best on a fast local disk",
    )
    reports: Folder = Field(  # `load_config` sets the default
        default_factory=Path, description="folder of tables and figures, of this experiment only; default: reports/<name of this file>"
    )

    @property
    def weights_lock(self) -> Path:
        """File with the sha256 of all weights that DVC does not track, by path."""
        return self.reports / "weights.lock.yaml"

    @model_validator(mode="after")
    def _check_lists(self) -> Self:
        keys = ("models", "methods", "modes", "bits", "seeds", "calibration_sizes")
        refuse_doubles({key: getattr(self, key) for key in keys})
        if self.calibration.images in self.calibration_sizes:
            raise ValueError(f"calibration_sizes lists {self.calibration.images}, which is calibration.images; remove it there")
        self.sensitivity.check("sensitivity", self.methods, self.bits, self.modes)
        self.deployment.check(self.methods, self.bits, self.modes)
        return self


EXPERIMENT = TypeAdapter(Experiment)
