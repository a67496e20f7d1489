"""Section `dataset` of an experiment: the images for calibration and for evaluation."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictFloat, StrictInt

from qhyvit.config.base import LARGEST_PANDAS_SEED, LARGEST_SIDE, DatasetName, Split, Strict, VariablePath
from qhyvit.config.environment import expand_env

IMAGENET_CLASSES, IMAGENET_VALIDATION_IMAGES = 1000, 50_000
# Keys of the section that say how an image becomes the input of a network.
PREPROCESSING = {"input_size", "crop_pct", "interpolation", "mean", "std"}
Mean = Annotated[StrictFloat, Field(ge=0, le=1)]
Std = Annotated[StrictFloat, Field(gt=0, le=1)]


class Subset(Strict):
    """Number of images per class and split, drawn once for all seeds of the experiment; null: all images."""

    calibration: StrictInt | None = Field(
        default=None, gt=0, description="images per class, from which each seed draws its calibration images"
    )
    evaluation: StrictInt | None = Field(default=None, gt=0, description="images per class")
    seed: StrictInt = Field(default=0, ge=0, le=LARGEST_PANDAS_SEED, description="seed of both draws")


class Dataset(Strict):
    """Image set: a folder for calibration and one for evaluation."""

    name: DatasetName
    layout: Literal["labelled-folders", "imagenet"] = Field(
        default="labelled-folders",
        description="layout of both folders. labelled-folders: a `labels.csv` (columns filename, label) next to the images, or one"
        " subfolder per class, whose label is the rank of its name; imagenet: one subfolder per class, named by its WordNet id, or instead"
        " of the folder an archive of ILSVRC2012 next to it",
    )
    classes: StrictInt = Field(ge=2)
    calibration: VariablePath = Field(description="folder; it may begin with an environment variable, as in ${IMAGENET}/train")
    evaluation: VariablePath = Field(description="folder, as `calibration`")
    subset: Subset = Subset()
    input_size: StrictInt | None = Field(default=None, gt=0, le=LARGEST_SIDE, description="side in pixels; default: the model's own")
    crop_pct: StrictFloat | None = Field(
        default=None, ge=0.1, le=1, description="side of the crop, as a share of the resized image; default: the model's own"
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = Field(default=None, description="default: the model's own")
    mean: tuple[Mean, Mean, Mean] | None = Field(
        default=None, description="mean of red, green and blue, which is subtracted from images in 0 to 1; default: the model's own"
    )
    std: tuple[Std, Std, Std] | None = Field(
        default=None, description="standard deviation of red, green and blue, by which images are divided; default: the model's own"
    )

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Stated settings of the transform from an image to the input of a network; what is not stated is the model's own."""
        return self.model_dump(mode="json", include=PREPROCESSING, exclude_none=True)

    def is_whole_imagenet(self, images: int = IMAGENET_VALIDATION_IMAGES) -> bool:
        """Tell if the ``images`` that are evaluated are ImageNet's whole validation set: published accuracies are on no other images."""
        whole = self.layout == "imagenet" and self.classes == IMAGENET_CLASSES and self.subset.evaluation is None
        return whole and images == IMAGENET_VALIDATION_IMAGES

    def folder(self, split: Split) -> Path:
        """Folder of the images of a split on this machine."""
        return expand_env(self.calibration if split == "calibration" else self.evaluation)

    @property
    def label_paths(self) -> list[Path]:
        """Files and folders that hold the labels, as the experiment states them; none for layout imagenet."""
        folders = (self.calibration, self.evaluation) if self.layout == "labelled-folders" else ()
        return [path for folder in folders for path in (folder / "labels.csv", *sorted(filter(Path.is_dir, folder.glob("*"))))]
