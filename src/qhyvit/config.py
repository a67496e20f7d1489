"""The configuration: what an experiment runs, the models and the methods, as typed values with one place for every rule.

Three YAML files: the experiment (config/config.yaml), and the models and the methods that it names. The JSON schemas under workflow/schemas
are made from these classes (`python -m qhyvit.config`) for editors that complete and check as one types; a test keeps them in step.
"""

import json
import os
import re
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from qhyvit.errors import InputError

T = TypeVar("T")
Granularity = Literal["per_tensor", "per_channel"]
Scheme = Literal["symmetric", "asymmetric"]
Mode = Literal["partial", "full"]
Split = Literal["calibration", "evaluation"]
Device = Literal["auto", "cpu", "cuda"]
BitWidth = Annotated[str, Field(pattern=r"^w[2-8]a[2-8]$", description="bits of weights and activations, as in w8a8")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
DatasetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
MethodName = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]


class _Strict(BaseModel):
    """Unknown keys are errors, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Subset(_Strict):
    """How many images of each class are used of each split, the same for all seeds of the experiment; null: all."""

    calibration: int | None = Field(default=None, gt=0, description="images a class, of which each seed draws those to calibrate with")
    evaluation: int | None = Field(default=None, gt=0, description="images a class")
    seed: int = Field(default=0, ge=0, description="draws both")


class Dataset(_Strict):
    """An image set: a folder to calibrate with and one to evaluate on."""

    name: DatasetName
    layout: Literal["labelled-folders", "imagenet"] = Field(
        default="labelled-folders",
        description="of both folders: a `labels.csv` (columns filename, label) beside the images, or a folder a class, named by its"
        " WordNet id; in the place of the latter, an archive of ILSVRC2012 beside it",
    )
    classes: int = Field(ge=2)
    calibration: Path = Field(description="may begin with a variable of the environment, as in ${IMAGENET}/train")
    evaluation: Path = Field(description="as calibration")
    subset: Subset = Subset()
    input_size: int | None = Field(default=None, gt=0, description="side in pixels; default: the model's own")
    crop_pct: float | None = Field(default=None, gt=0, le=1, description="default: the model's own")

    def folder(self, split: Split) -> Path:
        """Where the images of a split are on this machine."""
        return expand_env(self.calibration if split == "calibration" else self.evaluation)

    @property
    def label_files(self) -> list[Path]:
        """The files that hold the labels and nothing else, as the experiment states them."""
        return [folder / "labels.csv" for folder in (self.calibration, self.evaluation) if self.layout == "labelled-folders"]


class Calibration(_Strict):
    """What is captured of the network, once for all methods."""

    images: int = Field(gt=0, description="how many calibration images a seed draws")
    sampled_positions: int | None = Field(gt=0, description="sampled output positions per image and site; null: all")
    batch_size: int = Field(gt=0)


class Sensitivity(_Strict):
    """What is measured site by site."""

    methods: list[MethodName] = Field(default=[], description="of the experiment; all of their seeds, in mode partial")
    bits: list[BitWidth] = Field(default=[], description="of the experiment")
    images: int = Field(default=64, gt=0, description="calibration images beside those that the calibration draws")


class Evaluation(_Strict):
    """How the evaluation of a run is shared out."""

    shards: int = Field(
        default=1,
        gt=0,
        description="jobs that run a network over the evaluation images, each over some of their batches, before one merges what they"
        " found; the results are the same bytes whatever the number",
    )


class Phase(_Strict):
    """Some epochs of training at one image size."""

    size: int = Field(gt=0, description="side of the square images, in pixels")
    epochs: int = Field(gt=0)


class Cycle(_Strict):
    """One one-cycle schedule of the training of the embedded weights."""

    phases: list[Phase] = Field(min_length=1, description="progressive resizing: small images first")
    batch_size: int = Field(gt=0)
    learning_rate: float = Field(gt=0, description="the peak of the one-cycle schedule")
    warmup: float = Field(gt=0, lt=1, description="share of the steps in which the learning rate rises")
    weight_decay: float = Field(ge=0)
    label_smoothing: float = Field(ge=0, lt=1)
    seed: int = Field(ge=0)

    @property
    def first_size(self) -> int:
        """The image size of the first epoch."""
        return self.phases[0].size

    @property
    def epoch_sizes(self) -> list[int]:
        """The image size of each epoch, in order."""
        return [phase.size for phase in self.phases for _ in range(phase.epochs)]


class Published(_Strict):
    """What is published of a network."""

    top1: float | None = Field(gt=0, lt=100, description="ImageNet-1k, in percent")
    parameters: float | None = Field(gt=0, description="in millions")


class HubSource(_Strict):
    """A repository on the Hugging Face hub that holds the weights as model.safetensors."""

    hub: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")


class Model(_Strict):
    """A network of the zoo."""

    family: str
    constructor: Name = Field(description="a name in timm's registry")
    module: str | None = Field(default=None, description="a module that registers the constructor, where timm itself does not have it")
    arguments: dict[str, int | float | str | bool | dict[str, str]] = Field(default_factory=dict, description="of the constructor")
    published: Published | None = None
    source: HubSource | None = Field(default=None, description="where weights come from that are neither tracked nor at hand")


class Choices(_Strict):
    """The granularities and schemes that a method may use for one kind of operand; the first of each is the default."""

    granularity: list[Granularity] = Field(min_length=1)
    scheme: list[Scheme] = Field(min_length=1)


class MethodSettings(_Strict):
    """What every method needs."""

    weights: Choices
    activations: Choices
    matmuls: Choices
    linear_weights: Choices | None = Field(default=None, description="weights of linear layers, where theirs are not those of convolutions")
    grouped_activations: Choices | None = Field(
        default=None, description="activations of grouped convolutions, where theirs are not those of all"
    )
    output_scale: Literal["minmax", "mse", "ptf"] | None = Field(
        default=None,
        description="the scale of what full mode rounds beyond the operands of products: what covers the range, what has the least"
        " squared error, or FQ-ViT's: the first, but with power-of-two factors of channels before norms and log2 steps after softmax;"
        " null: the method has no full mode",
    )

    @property
    def modes(self) -> list[Mode]:
        """The modes that the method defines."""
        return ["partial", "full"] if self.output_scale else ["partial"]


class MinmaxMethod(MethodSettings):
    """Scales straight from the observed ranges."""

    algorithm: Literal["minmax"]
    percentile: float = Field(ge=99.9, le=100, description="percent of an activation tensor below (above) the upper (lower) end")


class FqvitMethod(MethodSettings):
    """The whole range, but log2 steps for attention maps."""

    algorithm: Literal["fqvit"]
    zero_point: Literal["widened", "saturated"] = Field(
        description="of an activation on one side of 0: that of the range widened to contain 0, or the range's own, clamped to the grid"
    )


class RepqvitMethod(MethodSettings):
    """Ranges cut at the best percentile, and norms that take over the scales of channels."""

    algorithm: Literal["repqvit"]
    percentiles: list[Annotated[float, Field(ge=99.9, le=100)]] = Field(
        min_length=1, description="percent of the values below (above) the upper (lower) end; the one with the least squared error is taken"
    )


class HyqMethod(MethodSettings):
    """The whole range, with learnt scales for the input channels of some pointwise convolutions."""

    algorithm: Literal["hyq"]
    steps: int = Field(ge=1, description="of Adam, for each of these convolutions")
    learning_rate: float = Field(gt=0, description="at the start; it falls to 0 as a cosine")


class SearchSettings(MethodSettings):
    """What every search needs."""

    objective: Literal["fisher", "cosine", "mse"] = Field(
        description="of the site's product the Fisher-weighted error or the cosine distance, or the squared error of the operand itself"
    )
    scale_min: float = Field(gt=0, description="the smallest candidate scale, as a factor of the one that covers the full range")
    scale_max: float = Field(gt=0, description="the largest")
    candidates: int = Field(ge=2)
    rounds: int = Field(ge=1)
    gradients: Literal["fisher", "fisher-quantized", "kl"] = Field(
        default="fisher",
        description="which the Fisher objective squares: of the likelihood of labels that the FP32 network draws, at itself or at the"
        " network quantized by default; or of the KL divergence of the FP32 network from itself",
    )
    cross_validated: bool = Field(
        default=False,
        description="whether candidates for an activation are judged on each batch of calibration images with a range no wider"
        " than that of the others",
    )


class ScaleSearchMethod(SearchSettings):
    """Scale, granularity and scheme by an objective, site by site."""

    algorithm: Literal["scale_search"]


class Ptq4vitMethod(SearchSettings):
    """The scale by an objective, site by site, and twin uniform grids after softmax, GELU and SiLU."""

    algorithm: Literal["ptq4vit"]
    defects: list[Literal["gelu-minimum", "added-halves", "stacked-groups"]] = Field(
        default=[],
        description="of the released code: GELU's minimum is SiLU's too, probabilities are the sum of both grids, and weight candidates"
        " of grouped convolutions meet the inputs of other groups",
    )


class QhyvitMethod(SearchSettings):
    """The same, and then the sites of each bridge block jointly, by the error at the block's output."""

    algorithm: Literal["qhyvit"]
    candidates_per_block: int = Field(ge=1, description="how many scales of each granularity and scheme a block is tried with")


class QhyvitReleasedMethod(SearchSettings):
    """Q-HyViT's released code: granularity by a rule, and bridge sites that stay quantized while later sites are calibrated."""

    algorithm: Literal["qhyvit_released"]
    gradients: Literal["kl"] = Field(default="kl", description="at the network that is quantized at the earlier bridge sites alone")


Method = Annotated[
    MinmaxMethod | FqvitMethod | ScaleSearchMethod | Ptq4vitMethod | QhyvitMethod | QhyvitReleasedMethod | RepqvitMethod | HyqMethod,
    Field(discriminator="algorithm"),
]


class Experiment(_Strict):
    """One configuration file: which models, methods and bit-widths run on which images."""

    dataset: Dataset
    weights: str = Field(
        pattern=r"\{model\}",
        description="path of the weights; {model} stands for the model's name, and a variable of the environment may begin it",
    )
    models: list[Name] = Field(min_length=1)
    methods: list[MethodName] = Field(min_length=1)
    modes: list[Mode] = Field(min_length=1)
    bits: list[BitWidth] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    calibration: Calibration
    calibration_sizes: list[Annotated[int, Field(gt=0)]] = Field(
        default=[], description="numbers of calibration images with which all runs are repeated, to see what these change"
    )
    evaluation: Evaluation = Evaluation()
    device: Device = Field(default="cpu", description="where networks are calibrated and evaluated; auto: on a GPU where there is one")
    sensitivity: Sensitivity = Sensitivity()
    training: dict[Name, list[Cycle]] = Field(
        default={}, description="by model, for `qhyvit train`: cycles one after the other, each from the weights of the last"
    )
    weights_lock: Path = Field(default=Path("config/weights.lock.yaml"), description="sha256 of all downloaded weights, by path")
    models_file: Path = Path("config/models.yaml")
    methods_file: Path = Path("config/methods.yaml")
    results: Path = Field(default=Path("results"), description="what a run makes on the way")
    reports: Path = Field(default=Path("reports"), description="what a run concludes")

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for name in ("models", "methods", "modes", "bits", "seeds", "calibration_sizes"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"{name} lists a value twice")
        return self


class Config(_Strict):
    """An experiment with the models and methods that it names."""

    experiment: Experiment
    models: dict[str, Model]
    methods: dict[str, Method]

    def check_mode(self, method: str, mode: Mode) -> None:
        """Raise InputError for a mode that a method does not define."""
        if mode not in self.methods[method].modes:
            known = self.experiment.methods_file
            raise InputError(
                f"{known}: method {method} has no mode {mode!r}, only {', '.join(self.methods[method].modes)}: it rounds the operands of"
                " products and says nothing of norms, activations and additions; choose another mode, or give it `output_scale`"
            )

    def configured_weights(self, model: str) -> Path:
        """The weights file of a model as the experiment states it, the same on every machine."""
        return Path(self.experiment.weights.replace("{model}", model))

    def weights_path(self, model: str) -> Path:
        """Where the weights file of a model is on this machine."""
        return expand_env(self.configured_weights(model))


MODELS = TypeAdapter(dict[Name, Model])
METHODS = TypeAdapter(dict[MethodName, Method])
EXPERIMENT = TypeAdapter(Experiment)
SCHEMAS: dict[str, TypeAdapter] = {"config": EXPERIMENT, "models": MODELS, "methods": METHODS}  # type: ignore[type-arg]


def load_config(path: Path, *, allow_unset_env: bool = False) -> Config:
    """Read an experiment and the files that it names.

    Raises InputError with file, key, value and mend on any fault. A variable that is not set in the environment is one, unless the
    experiment is read ``allow_unset_env`` it alone.
    """
    experiment: Experiment = _typed(path, _read_experiment(path), EXPERIMENT)
    if not allow_unset_env:
        _refuse_unset_variables(path, experiment)
    models: dict[str, Model] = read_yaml(experiment.models_file, MODELS)
    methods: dict[str, Method] = read_yaml(experiment.methods_file, METHODS)
    return Config(
        experiment=experiment,
        models=_named(path, "model", experiment.models, models, experiment.models_file),
        methods=_named(path, "method", experiment.methods, methods, experiment.methods_file),
    )


def parse_bits(bits: str) -> tuple[int, int]:
    """Bits of weights and of activations: "w8a6" is (8, 6)."""
    match = re.fullmatch(r"w([2-8])a([2-8])", bits)
    if match is None:
        raise InputError(f"bit-width {bits!r} is not of the form w8a8, with 2 to 8 bits each")
    return int(match[1]), int(match[2])


def read_yaml(path: Path, schema: TypeAdapter[T]) -> T:
    """The content of a YAML file, as ``schema`` types it. Raises InputError for a file that is missing, no YAML, or at fault."""
    return _typed(path, _parsed(path), schema)


def variables(path: Path) -> list[str]:
    """The variables of the environment that a path names, as in ``${IMAGENET}/train``."""
    return Template(str(path)).get_identifiers()


def expand_env(path: Path) -> Path:
    """The path with the values of its variables."""
    return Path(Template(str(path)).safe_substitute(os.environ))


def _refuse_unset_variables(source: Path, experiment: Experiment) -> None:
    dataset = experiment.dataset
    stated = {
        "dataset.calibration": dataset.calibration,
        "dataset.evaluation": dataset.evaluation,
        "weights": Path(experiment.weights),
    }
    for key, path in stated.items():
        for name in variables(path):
            if not os.environ.get(name):
                raise InputError(
                    f"{source}: {key}: {path}: {name} is not set in the environment; say which folder it is:"
                    f" `make reproduce CONFIG={source} {name}=/path`"
                )


def _read_experiment(path: Path, derived: tuple[Path, ...] = ()) -> Any:
    """An experiment that names another as its ``base``, a path, takes from there all keys that it does not have itself."""
    if path in derived:
        raise InputError(f"{path}: is its own base, by way of {derived[-1]}; give one of them another base or none")
    content = _parsed(path)
    if not isinstance(content, dict) or "base" not in content:
        return content
    own = {key: value for key, value in content.items() if key != "base"}
    base = _read_experiment(Path(content["base"]), (*derived, path))
    return base | own if isinstance(base, dict) else base


def _parsed(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give the path of a configuration file") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from error


def _typed(path: Path, content: Any, schema: TypeAdapter[T]) -> T:
    try:
        return schema.validate_python(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']} (found {fault['input']!r})" for fault in error.errors())
        raise InputError(f"{path}: {faults}") from error


def _named(path: Path, kind: str, names: list[str], known: dict[str, T], source: Path) -> dict[str, T]:
    for name in names:
        if name not in known:
            raise InputError(f"{path}: unknown {kind} {name!r}; {source} knows {', '.join(known)}")
    return {name: known[name] for name in names}


def _write_schemas(folder: Path) -> None:
    for name, schema in SCHEMAS.items():
        (folder / f"{name}.schema.json").write_text(schema_text(schema))


def schema_text(schema: TypeAdapter) -> str:  # type: ignore[type-arg]
    """The JSON schema as it stands in workflow/schemas."""
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(dialect | schema.json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    _write_schemas(Path("workflow/schemas"))
