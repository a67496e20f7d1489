"""Section `training` of an experiment: how the embedded weights were trained."""

from pydantic import Field

from qhyvit.config.base import Strict


class Phase(Strict):
    """Some epochs of training at one image size."""

    size: int = Field(gt=0, description="side of the square images, in pixels")
    epochs: int = Field(gt=0)


class Cycle(Strict):
    """One-cycle schedule of the training of the embedded weights."""

    phases: list[Phase] = Field(min_length=1, description="progressive resizing: small images first")
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0, description="the peak of the one-cycle schedule")
    warmup: float = Field(gt=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    seed: int = Field(ge=0)

    @property
    def first_size(self) -> int:
        """Image size of the first epoch."""
        return self.phases[0].size

    @property
    def epoch_sizes(self) -> list[int]:
        """Image size of each epoch, in order."""
        return [phase.size for phase in self.phases for _ in range(phase.epochs)]
