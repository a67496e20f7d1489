"""Key `tuning` of a method."""

from typing import Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from qhyvit.config.base import LARGEST_BATCH, Strict


class LearningRates(Strict):
    """Learning rates of Adam at up to 4 bits, halved for each further bit; they fall to 0 as a cosine. What has 0 is not tuned.

    A network for which they are too large begins again with a quarter of them.
    """

    activation_scales: StrictFloat = Field(ge=0, description="of the logarithms of activation scales")
    weight_scales: StrictFloat = Field(ge=0, description="of the logarithms of weight scales")
    biases: StrictFloat = Field(ge=0, description="of biases and of the parameters of norms")
    weights: StrictFloat = Field(ge=0, description="of weights")

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if not any(self.model_dump().values()):
            raise ValueError("nothing is tuned, since all are 0; state one above, or leave out `tuning`")
        return self


class TuningSettings(Strict):
    """Distillation of the FP32 network into the quantized one, without labels."""

    images: StrictInt = Field(
        ge=10, description="calibration images, of which a tenth is held out to choose the step; all that there are if these are fewer"
    )
    steps: StrictInt = Field(ge=1, description="steps of Adam")
    batch_size: StrictInt = Field(ge=1, le=LARGEST_BATCH, description="images per step; each is mirrored or not, by chance")
    learning_rates: LearningRates


class CorrectionSettings(Strict):
    """Correction of the outputs of layers, in closed form."""

    images: StrictInt = Field(ge=1, description="calibration images, and as many others as a check; all that there are if these are fewer")
    slope: StrictBool = Field(description="true: correct the scale of each output channel and the bias; false: the bias alone")
