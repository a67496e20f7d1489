"""Section `training` of an experiment: one-cycle schedules of `qhyvit train`, which made the embedded weights."""

from pydantic import Field, StrictFloat, StrictInt

from qhyvit.config.base import LARGEST_BATCH, LARGEST_PANDAS_SEED, LARGEST_SIDE, Strict


class Phase(Strict):
    """Some epochs of training at one image size."""

    size: StrictInt = Field(gt=0, le=LARGEST_SIDE, description="side of the square images, in pixels")
    epochs: StrictInt = Field(gt=0)


class Cycle(Strict):
    """One-cycle schedule of `qhyvit train` (Smith and Topin, arXiv 1708.07120); learning rates are those of AdamW."""

    phases: list[Phase] = Field(min_length=1, description="progressive resizing: small images first")
    batch_size: StrictInt = Field(gt=0, le=LARGEST_BATCH)
    learning_rate: StrictFloat = Field(gt=0, description="the peak of the one-cycle schedule")
    warmup: StrictFloat = Field(gt=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: StrictFloat = Field(ge=0)
    label_smoothing: StrictFloat = Field(ge=0, lt=1)
    seed: StrictInt = Field(ge=0, le=LARGEST_PANDAS_SEED)

    @property
    def first_size(self) -> int:
        """Image size of the first epoch."""
        return self.phases[0].size

    @property
    def epoch_sizes(self) -> list[int]:
        """Image size of each epoch, in order."""
        return [phase.size for phase in self.phases for _ in range(phase.epochs)]
