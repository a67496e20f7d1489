"""Methods file: quantization methods and their settings."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, Field, StrictFloat, StrictInt, TypeAdapter, model_validator

from qhyvit.config.base import MethodName, nearest_names
from qhyvit.config.deployment import PEER_FORMATS
from qhyvit.config.method_settings import ConvInputSettings, MethodSettings, SearchSettings, ZeroPointSettings
from qhyvit.config.targets import SiteClass, TargetName, load_target
from qhyvit.errors import InputError


class MinmaxMethod(MethodSettings):
    """Scales computed directly from the observed ranges."""

    algorithm: Literal["minmax"]
    percentile: StrictFloat = Field(
        ge=99.9, le=100, description="percent of the values of an activation below the upper end of its range, and above the lower end"
    )

    @model_validator(mode="after")
    def _check_percentile(self) -> Self:
        choices = [self.activations, self.matmuls, self.grouped_activations or self.activations]
        if self.percentile < 100 and any(each.granularity[0] == "per_channel" for each in choices):
            raise ValueError("percentile: ranges per channel are not clipped; state 100, or per_tensor first for all activations")
        return self


class FqvitMethod(ZeroPointSettings):
    """Full observed range, with log2 steps for attention maps (FQ-ViT, arXiv 2111.13824)."""

    algorithm: Literal["fqvit"]


class RepqvitMethod(ConvInputSettings):
    """Ranges clipped at the best percentile, and norms that absorb the scales of channels (RepQ-ViT, arXiv 2212.08254)."""

    algorithm: Literal["repqvit"]
    percentiles: list[Annotated[StrictFloat, Field(ge=99.9, le=100)]] = Field(
        min_length=1, description="percent of the values below (above) the upper (lower) end; the one with the least squared error is taken"
    )

    @model_validator(mode="after")
    def _check_granularity(self) -> Self:
        for operand, executed in (("weights", "per_channel"), ("activations", "per_tensor")):
            if getattr(self, operand).granularity != [executed]:
                raise ValueError(f"{operand}.granularity: this algorithm supports {executed} alone; state that")
        return self

    @model_validator(mode="after")
    def _check_bits(self) -> Self:
        if self.conv_input_bits == 32:
            raise ValueError("conv_input_bits: this method has no operand in FP32; state 2 to 8")
        return self


class HyqMethod(MethodSettings):
    """Full observed range, with learnt scales for the input channels of some pointwise convolutions (HyQ, Kim et al., IJCAI 2024)."""

    algorithm: Literal["hyq"]
    steps: StrictInt = Field(ge=1, description="steps of Adam per convolution")
    learning_rate: StrictFloat = Field(gt=0, description="initial learning rate; it falls to 0 as a cosine")


class ScaleSearchMethod(SearchSettings, ConvInputSettings):
    """Scale, granularity and scheme by an objective, per site."""

    algorithm: Literal["scale_search"]


class Ptq4vitMethod(SearchSettings, ConvInputSettings):
    """Scale by an objective, per site, and twin uniform quantizers after softmax, GELU and SiLU (PTQ4ViT, arXiv 2111.12293)."""

    algorithm: Literal["ptq4vit"]
    defects: list[Literal["gelu-minimum", "added-halves", "stacked-groups"]] = Field(
        default=[],
        description="faults of the released code to reproduce. gelu-minimum: the minimum of GELU is used for SiLU too; added-halves:"
        " probabilities are the sum of both grids; stacked-groups: weight candidates of grouped convolutions meet the inputs of other"
        " groups",
    )


class QhyvitMethod(SearchSettings):
    """Scale search per site, then of the sites of each bridge block jointly (Q-HyViT, arXiv 2303.12557, Section IV, Algorithm 1)."""

    algorithm: Literal["qhyvit"]
    candidates_per_block: Annotated[StrictInt, Field(ge=1)] | Literal["all"] = Field(
        description="candidate scales per granularity and scheme in the search of a block: so many, the best by the error of the site, with"
        " one multiplier for all channels; or all, and then one multiplier per channel"
    )

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        if self.objective == "cosine":
            raise ValueError("objective: blocks are compared by Fisher gradients, which cosine does not record; state fisher or mse")
        if self.split_qkv:
            raise ValueError("split_qkv: a bridge block has one weight scale for queries, keys and values; leave it out")
        return self

    @property
    def recalibration_key(self) -> str:
        """Hash of the settings that the gradients depend on; never None, as the inputs of bridge blocks are needed too."""
        return self._gradients_hash()


class QhyvitIntegerMethod(SearchSettings):
    """Scale search per site among what integer kernels execute, with scales of channels that the weights of dense layers absorb."""

    algorithm: Literal["qhyvit_integer"]
    target: TargetName = Field(description="engine whose kernels execute the quantizers, a file of `config/targets`")
    strengths: list[Annotated[StrictFloat, Field(ge=0, le=1)]] = Field(
        min_length=1,
        description="exponents of the scales of input channels that weights may absorb. 0: one scale; 1: all channels fill the grid",
    )

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if self.split_qkv:
            raise ValueError("split_qkv: no target executes a weight scale for each of queries, keys and values; leave it out")
        return self

    @model_validator(mode="after")
    def _check_executed(self) -> Self:
        target = load_target(self.target)
        for operand, site_class in ((operand, name) for name in get_args(SiteClass) for operand in target.operands(name)):
            key = self._key_of(site_class, operand)
            limits, choices = target.limits(site_class, operand), getattr(self, key)
            for setting in ("granularity", "scheme"):
                executed = getattr(limits, setting)
                if not {*getattr(choices, setting)} & {*executed}:
                    raise ValueError(f"{key}.{setting}: {self.target} executes none of these in a {site_class}; state {executed[0]} too")
        return self

    def _key_of(self, site_class: SiteClass, operand: str) -> str:
        """Return the setting that has the choices for an operand."""
        if site_class == "matmul":
            return "matmuls"
        if operand == "weight":
            return "linear_weights" if site_class == "linear" and self.linear_weights else "weights"
        return "grouped_activations" if site_class not in ("dense_conv", "linear") and self.grouped_activations else "activations"

    @property
    def quantizer_settings(self) -> dict[str, Any]:
        """Settings that decide the quantizers, as plain data, with what the target executes."""
        return super().quantizer_settings | {"target": load_target(self.target).model_dump(mode="json")}


class QhyvitReleasedMethod(SearchSettings):
    """Q-HyViT's released code: granularity by a rule, and bridge sites that stay quantized while later sites are calibrated."""

    algorithm: Literal["qhyvit_released"]
    objective: Literal["fisher"]
    gradients: Literal["kl"] = Field(
        default="kl", description="of the KL divergence, at the network that is quantized at the earlier bridge sites only"
    )

    @property
    def recalibration_key(self) -> None:
        """None: the gradients depend on the quantizers of earlier sites."""
        return None


Method = Annotated[
    MinmaxMethod
    | FqvitMethod
    | ScaleSearchMethod
    | Ptq4vitMethod
    | QhyvitMethod
    | QhyvitIntegerMethod
    | QhyvitReleasedMethod
    | RepqvitMethod
    | HyqMethod,
    Field(discriminator="algorithm"),
]


NO_METHODS = {"fp32", *PEER_FORMATS}


def _check_names(methods: dict[str, Method]) -> dict[str, Method]:
    names = [method.published_as for method in methods.values() if method.published_as]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"published_as: {', '.join(twice)} is stated for two methods; published cells belong to one")
    for name, method in methods.items():
        if name in NO_METHODS:
            raise ValueError(f"{name}: results have this name for networks that no method here quantized; give the method another name")
        if method.ablation_of not in (None, *methods):
            raise ValueError(f"{name}.ablation_of: there is no method {method.ablation_of!r}; name one of this file")
    wholes = dict.fromkeys(method.ablation_of for method in methods.values() if method.ablation_of)
    if len(wholes) > 1:
        raise ValueError(f"ablation_of: {', '.join(wholes)} are stated; the steps of one file are those of one method")
    return methods


METHODS: TypeAdapter[dict[str, Method]] = TypeAdapter(Annotated[dict[MethodName, Method], AfterValidator(_check_names)])


def find_method(name: str, known: dict[str, Method], source: Path) -> Method:
    """Return a method of the methods file ``source``, which holds the ``known`` ones. Raises InputError for any other name."""
    if name not in known:
        raise InputError(f"unknown method {name!r}; {source} does not have it: {nearest_names(name, known)}")
    return known[name]
