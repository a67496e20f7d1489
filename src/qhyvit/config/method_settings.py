"""Settings that several quantization methods have."""

import hashlib
import json
from typing import Any, Literal, Self

from pydantic import Field, StrictBool, StrictFloat, StrictInt, model_validator

from qhyvit.config.base import Granularity, MethodName, Mode, Scheme, Strict, ZeroPoint
from qhyvit.config.tuning import CorrectionSettings, TuningSettings


class Choices(Strict):
    """Granularities and schemes that a method may use for one kind of operand; the first of each is the default."""

    granularity: list[Granularity] = Field(min_length=1)
    scheme: list[Scheme] = Field(min_length=1)


class MethodSettings(Strict):
    """Settings that every method has."""

    label: str | None = Field(default=None, min_length=1, description="name in figures; default: the name in this file")
    published_as: MethodName | None = Field(default=None, description="name of the published cells of this method; null: none")
    ablation_of: MethodName | None = Field(
        default=None, description="method whose ablation has this one as a step, in the order of the file"
    )
    ablation_label: str | None = Field(default=None, description="name in the ablation; default: as `label`")
    weights: Choices
    activations: Choices
    matmuls: Choices
    linear_weights: Choices | None = Field(default=None, description="weights of linear layers; default: as `weights`")
    grouped_activations: Choices | None = Field(default=None, description="activations of grouped convolutions; default: as `activations`")
    output_scale: Literal["minmax", "mse", "ptf"] | None = Field(
        default=None,
        description="scale of what full mode quantizes in addition to the operands of products. minmax: covers the range; mse: has the"
        " least squared error; ptf: as minmax, with power-of-two factors per channel before norms and log2 steps after softmax;"
        " null: the method has no full mode",
    )

    correction: CorrectionSettings | None = Field(
        default=None, description="how to correct the outputs of layers; null: they are left as they are"
    )
    tuning: TuningSettings | None = Field(default=None, description="how to tune what is found and corrected; null: it is left as it is")

    @model_validator(mode="after")
    def _check_changes(self) -> Self:
        if self.output_scale and self.changes_parameters:
            raise ValueError("correction, tuning: they leave out what mode full adds, so that output_scale must be null")
        return self

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if isinstance(self, SearchSettings):
            return self
        for operand in ("weights", "activations", "matmuls", "linear_weights", "grouped_activations"):
            for setting, values in getattr(self, operand) or ():
                if len(values) > 1:
                    raise ValueError(f"{operand}.{setting}: this algorithm does not search, and would take {values[0]}; state one")
        return self

    @property
    def changes_parameters(self) -> bool:
        """True if the method changes parameters of the network too, and not only quantizes it."""
        return bool(self.correction or self.tuning)

    @property
    def images_of_changes(self) -> int:
        """Calibration images that the correction and the tuning read at most; 0 if the method has neither."""
        corrected = 2 * self.correction.images if self.correction else 0  # it is judged on as many others
        return max(corrected, self.tuning.images if self.tuning else 0)

    @property
    def modes(self) -> list[Mode]:
        """Modes that the method defines."""
        return ["partial", "full"] if self.output_scale else ["partial"]

    @property
    def recalibration_key(self) -> str | None:
        """Eight hexadecimal digits, equal for methods that share a recalibration; None for a method that needs none."""
        return None

    @property
    def quantizer_settings(self) -> dict[str, Any]:
        """Settings that decide the quantizers, as plain data: all but names and labels."""
        changes = {"correction", "tuning"}
        settings = self.model_dump(mode="json", exclude={"label", "published_as", "ablation_of", "ablation_label", *changes})
        return settings | self.model_dump(mode="json", include=changes, exclude_none=True)


class ZeroPointSettings(MethodSettings):
    """Settings of methods that may have zero points as their source computes them."""

    zero_point: ZeroPoint = Field(
        default="widened",
        description="zero point of an operand on one side of 0. widened: the range is widened to contain 0; saturated: the zero point"
        " of the range itself, clamped to the grid",
    )


class ConvInputSettings(MethodSettings):
    """Settings of methods whose source gives the inputs of convolutions bits of their own."""

    conv_input_bits: Literal[2, 3, 4, 5, 6, 7, 8, 32] | None = Field(
        default=None,
        description="bits of the inputs of convolutions; 32: they stay FP32; null: those of all other activations",
    )


class SearchSettings(ZeroPointSettings):
    """Settings of every method that searches scales."""

    objective: Literal["fisher", "cosine", "mse"] = Field(
        description="fisher: Fisher-weighted error of the site's product; cosine: cosine distance of the outputs of each token or pixel,"
        " bias included; mse: squared error of the operand itself"
    )
    scale_min: StrictFloat = Field(gt=0, description="the smallest candidate scale, as a multiple of the one that covers the full range")
    scale_max: StrictFloat = Field(gt=0, description="the largest candidate scale, likewise")
    candidates: StrictInt = Field(ge=2, description="number of candidate scales")
    rounds: StrictInt = Field(ge=1, description="rounds of alternating between the two operands")
    gradients: Literal["fisher", "fisher-quantized", "kl", "kl-quantized"] = Field(
        default="fisher",
        description="gradients that the Fisher objective squares. fisher: of the log-likelihood of labels sampled from the FP32 softmax, at"
        " the FP32 network; fisher-quantized: the same at the default-quantized network; kl: of the KL divergence of the FP32 network from"
        " itself; kl-quantized: of that of the default-quantized network from the FP32 one",
    )
    cross_validated: StrictBool = Field(
        default=False,
        description="evaluate candidates for an activation on each batch of calibration images with its range clipped to that of the other"
        " batches (times a multiplier above 1)",
    )

    split_qkv: StrictBool = Field(
        default=False,
        description="give queries, keys and values a weight scale each where one linear layer computes them, instead of one of the layer",
    )

    @model_validator(mode="after")
    def _check_cosine(self) -> Self:
        layers = (self.weights, self.linear_weights, self.activations, self.grouped_activations)
        if self.objective == "cosine" and any("per_channel" in choices.granularity for choices in layers if choices):
            raise ValueError("objective: cosine compares whole tokens, so it cannot choose scales per channel of a layer; state per_tensor")
        return self

    @model_validator(mode="after")
    def _check_cross_validated(self) -> Self:
        if self.cross_validated and self.zero_point == "saturated":
            raise ValueError("zero_point: saturated ranges of batches may have nothing in common; state widened, or cross_validated: false")
        return self

    @model_validator(mode="after")
    def _check_gradients(self) -> Self:
        if self.gradients_when_quantized and isinstance(self, ConvInputSettings) and self.conv_input_bits == 32:
            raise ValueError(f"gradients: {self.gradients} quantizes all operands, so that conv_input_bits may not be 32; state 2 to 8")
        return self

    @property
    def gradients_when_quantized(self) -> bool:
        """True if the gradients are those of the default-quantized network, False if those of the FP32 network."""
        return self.gradients.endswith("-quantized")

    @property
    def recalibration_key(self) -> str | None:
        """Hash of the settings that the rows depend on; None where those of the calibration are used."""
        return None if self.gradients == "fisher" and self.objective != "cosine" else self._gradients_hash()

    def _gradients_hash(self) -> str:
        """Hash of the kind of gradients, and of the first granularity and scheme per operand if the network is quantized with them.

        The cosine objective has no gradients: its rows are whole tokens of the FP32 network.
        """
        operands = {
            "weights": self.weights,
            "linear_weights": self.linear_weights or self.weights,
            "activations": self.activations,
            "grouped_activations": self.grouped_activations or self.activations,
            "matmuls": self.matmuls,
        }
        defaults: dict[str, Any] = {name: (choices.granularity[0], choices.scheme[0]) for name, choices in operands.items()}
        if isinstance(self, ConvInputSettings) and self.conv_input_bits:
            defaults["conv_input_bits"] = self.conv_input_bits
        if self.zero_point != "widened":
            defaults["zero_point"] = self.zero_point
        of_gradients = [self.gradients, defaults if self.gradients_when_quantized else None]
        settings = ["tokens"] if self.objective == "cosine" else of_gradients
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
