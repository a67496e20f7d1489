"""Models file: the networks that experiments name."""

from pydantic import Field, TypeAdapter

from qhyvit.config.base import Name, Strict


class Published(Strict):
    """Published figures of a network."""

    top1: float | None = Field(gt=0, lt=100, description="ImageNet-1k, in percent")
    parameters: float | None = Field(gt=0, description="in millions")


class HubSource(Strict):
    """Repository on the Hugging Face hub that holds the weights as model.safetensors."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")


class Model(Strict):
    """Network of the zoo."""

    family: str
    constructor: Name = Field(description="name in timm's registry")
    module: str | None = Field(default=None, description="module that registers the constructor, if timm itself does not")
    arguments: dict[str, int | float | str | bool | dict[str, str]] = Field(default_factory=dict, description="of the constructor")
    published: Published | None = None
    source: HubSource | None = Field(default=None, description="where to download weights that are neither tracked nor at hand")


MODELS = TypeAdapter(dict[Name, Model])
