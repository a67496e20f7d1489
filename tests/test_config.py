import csv
import re
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import get_args

import jsonschema
import pytest
import yaml
from conftest import REPOSITORY
from pydantic import ValidationError

from qhyvit.config.base import parse_bits
from qhyvit.config.dataset import Dataset, Subset
from qhyvit.config.deployment import Deployment
from qhyvit.config.experiment import Calibration, Evaluation, Experiment, Sensitivity
from qhyvit.config.loading import load_config, read_yaml
from qhyvit.config.methods import METHODS, Method
from qhyvit.config.models import MODELS, HubSource, Model, Published
from qhyvit.config.reports import claim_reports_folder
from qhyvit.config.schemas import SCHEMAS, schema_text
from qhyvit.data.labelled_folder import SUFFIXES
from qhyvit.errors import InputError
from qhyvit.models.zoo import timm
from qhyvit.presets import load_preset

EXPERIMENTS = sorted(path.stem for path in (REPOSITORY / "config/experiments").glob("*.yaml"))

CONFIG = REPOSITORY / "config"
PER_CHANNEL = {"granularity": ["per_channel"], "scheme": ["asymmetric"]}
ASYMMETRIC = {"granularity": ["per_tensor"], "scheme": ["asymmetric"]}
TWO_SCHEMES = {"granularity": ["per_tensor"], "scheme": ["symmetric", "asymmetric"]}
PER_TENSOR = {name: {"granularity": ["per_tensor"], "scheme": ["symmetric"]} for name in ("weights", "activations")}
RATES = dict.fromkeys(("activation_scales", "weight_scales", "biases", "weights"), 0)
IDLE = {"images": 32, "steps": 1, "batch_size": 1, "learning_rates": RATES}
METHODS_OF_PACKAGE = list(yaml.safe_load((REPOSITORY / "src/qhyvit/presets/methods.yaml").read_text()))


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """Write a changed copy of the embedded experiment and return its path."""
    monkeypatch.chdir(REPOSITORY)

    def write(**changes: object) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load((CONFIG / "config.yaml").read_text()) | changes))
        return path

    return write


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_those_of_the_classes_and_hold_for_files(name):
    path = REPOSITORY / "workflow/schemas" / f"{name}.schema.json"
    assert path.read_text() == schema_text(SCHEMAS[name]), "run python -m qhyvit.config.schemas"
    jsonschema.validate(yaml.safe_load((CONFIG / f"{name}.yaml").read_text()), yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("name", METHODS_OF_PACKAGE)
def test_algorithm_of_preset_finds_quantizers(name):
    algorithm = import_module(f"qhyvit.methods.{load_preset(name).algorithm}")
    assert list(signature(algorithm.find_quantizers).parameters) == ["task"]


def test_unknown_preset_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown method 'qhyvit-vc'; .*presets/methods\.yaml does not have it: did you mean qhyvit-cv"):
        load_preset("qhyvit-vc")


def test_methods_file_of_config_is_that_of_the_package():
    assert (CONFIG / "methods.yaml").samefile(REPOSITORY / "src/qhyvit/presets/methods.yaml")


def test_only_the_method_of_the_paper_has_its_cells():
    paper, ours = load_preset("qhyvit"), load_preset("qhyvit-cv")
    assert (paper.published_as, paper.cross_validated) == ("qhyvit", False)
    assert (ours.published_as, ours.cross_validated) == (None, True)


def test_published_methods_have_one_method_each():
    cells = [csv.DictReader(path.open()) for path in (REPOSITORY / "resources/published").glob("*.csv")]
    published = {name for table in cells for cell in table for name in cell["method"].split("+")} - {"fp32"}
    assert sorted(published) == sorted(filter(None, (load_preset(name).published_as for name in METHODS_OF_PACKAGE)))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("percentile", {"published_as": "omse"}, "published_as: omse is stated for two methods"),
        ("easyquant", {"weights": {"granularity": ["per_channel"], "scheme": ["symmetric"]}}, ".*cosine compares whole tokens.*per_tensor"),
        ("minmax", {"ablation_of": "qhyvit-x"}, r"minmax\.ablation_of: there is no method 'qhyvit-x'"),
        ("minmax", {"ablation_of": "omse"}, r"ablation_of: omse, qhyvit are stated; the steps of one file are those of one method"),
        ("minmax", {"percentile": 50}, r"minmax\.percentile: .* \(found 50\); correct it"),
        ("minmax", {"algorithm": "hyq"}, r"minmax\.steps: missing; add this key; minmax\.learning_rate: missing"),
        ("minmax", {"algorithm": "magic"}, r"minmax: algorithm: unknown 'magic'; choose one of 'minmax', 'fqvit'"),
    ],
)
def test_faults_of_methods_are_named(tmp_path, name, changes, message):
    methods = yaml.safe_load((CONFIG / "methods.yaml").read_text())
    methods[name] |= changes
    path = tmp_path / "methods.yaml"
    path.write_text(yaml.safe_dump(methods))
    with pytest.raises(InputError, match=rf"methods\.yaml: {message}"):
        read_yaml(path, METHODS)


@pytest.mark.parametrize(("schema", "file", "names"), [(METHODS, "methods.yaml", ("fp32", "nncf")), (MODELS, "models.yaml", ("mean",))])
def test_names_with_another_meaning_in_results_are_refused(tmp_path, schema, file, names):
    entries = yaml.safe_load((CONFIG / file).read_text())
    for name in names:
        path = tmp_path / file
        path.write_text(
            yaml.safe_dump(entries | {name: next(iter(entries.values())) | ({"published_as": None} if schema is METHODS else {})})
        )
        with pytest.raises(InputError, match=rf"{file}: {name}: .* have this name for .*; give the .* another name$"):
            read_yaml(path, schema)


def test_labels_decide_no_quantizers():
    method = load_preset("qhyvit-scale")
    renamed = method.model_copy(update={"label": "x", "published_as": None, "ablation_of": None, "ablation_label": "y"})
    changed = method.model_copy(update={"rounds": 1})
    assert renamed.quantizer_settings == method.quantizer_settings
    assert changed.quantizer_settings != method.quantizer_settings


@pytest.mark.parametrize("file", ["models.yaml", "cnns.yaml"])
def test_constructors_are_registered(file):
    for model in read_yaml(CONFIG / file, MODELS).values():
        if model.module:
            import_module(model.module)
        assert timm.is_model(model.constructor)


def test_readme_documents_every_key():
    text = (CONFIG / "README.md").read_text()
    sections = (Experiment, Dataset, Subset, Calibration, Sensitivity, Deployment, Evaluation, Model, Published, HubSource)
    methods = get_args(get_args(Method)[0])
    assert not [key for section in (*sections, *methods) for key in section.model_fields if not re.search(rf"`{key}\b", text)]


def test_readme_names_every_format_of_images():
    (stated,) = re.findall(r"files that end in (.*?);", (CONFIG / "README.md").read_text())
    assert sorted(re.findall(r"`(\.\w+)`", stated)) == sorted(SUFFIXES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"models": ["mobilevit_xxl"]},
            r"config\.yaml: unknown model 'mobilevit_xxl'; .*config/models\.yaml nor timm .* mean mobilevit_",
        ),
        ({"methods": ["minmaxx"]}, r"config\.yaml: unknown method 'minmaxx'; .*config/methods\.yaml does .* mean minmax\?"),
        ({"modles": ["mobilevit_xxs"]}, r"config\.yaml: modles: unknown key; correct its spelling"),
        ({"dataset": {"classes": 2}}, r"config\.yaml: dataset\.name: missing; add this key; dataset\.calibration: missing"),
        (
            {"dataset": {"name": "decoded"}},
            r"config\.yaml: dataset\.name: 'decoded': an image set is named by .* not benchmarks or .* or training; give another",
        ),
        ({"bits": ["w9a8"]}, r"config\.yaml: bits\.0: .*found 'w9a8'"),
        ({"seeds": [2**63]}, rf"config\.yaml: seeds\.0: .*found {2**63}"),
        ({"dataset": {"subset": {"seed": 2**32}}}, rf"config\.yaml: .*dataset\.subset\.seed: .*found {2**32}"),
        ({"bits": ["w8a8", "w8a8"]}, "bits lists a value twice"),
        (
            {"deployment": {"openvino": {"methods": ["minmax"], "bits": ["w8a8"]}}},
            r"config\.yaml: deployment\.openvino\.methods: the experiment has no 'minmax'; add it to `methods`",
        ),
        (
            {"deployment": {"onnx": {"methods": ["qhyvit"], "bits": ["w4a4"]}}},
            r"config\.yaml: deployment\.onnx\.bits: the experiment has no 'w4a4'; add it to `bits`",
        ),
        (
            {"modes": ["full"], "deployment": {"openvino": {"methods": ["qhyvit"], "bits": ["w8a8"]}}},
            r"config\.yaml: deployment\.openvino: its runs are in mode partial, .*add it to `modes`",
        ),
        ({"deployment": {"peers": ["tensorrt"]}}, r"config\.yaml: deployment\.peers\.0: .*'nncf'.*found 'tensorrt'"),
        ({"weights": "data/weights.safetensors"}, r"weights: .*\{model"),
        ({"models_file": "config/model.yaml"}, r"config/model\.yaml: cannot be read"),
        ({"reports": "reports/$(touch x)"}, r"config\.yaml: reports: 'reports/\$\(touch x\)' is no plain path; use letters, digits"),
        ({"results": "{model}"}, r"config\.yaml: results: '\{model\}' is no plain path"),
        ({"results": "-x"}, r"config\.yaml: results: '-x' is no plain path; .* no hyphen first"),
        ({"results": "results\n"}, r"config\.yaml: results: 'results\\n' is no plain path"),
        ({"calibration_sizes": [8, 32]}, r"config\.yaml: calibration_sizes lists 32, which is calibration\.images; remove it there"),
        ({"base": ["a.yaml"]}, r"config\.yaml: base: \['a\.yaml'\] is not the path of a configuration file; name one file"),
    ],
)
def test_faults_are_named(experiment, changes, message):
    with pytest.raises(InputError, match=message) as error:
        load_config(experiment(**changes))
    assert "\n" not in str(error.value)


def test_base_gives_all_missing_keys_but_reports(experiment, tmp_path):
    base = experiment(seeds=[3])
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump({"base": str(base), "bits": ["w4a4"]}))
    own = {"bits": ["w4a4"], "reports": Path("reports/more")}
    assert load_config(path).experiment == load_config(base).experiment.model_copy(update=own)
    path.write_text(yaml.safe_dump({"base": str(base), "bit": ["w4a4"]}))
    with pytest.raises(InputError, match=r"more\.yaml: bit: unknown key"):
        load_config(path)


def test_base_may_have_a_base_but_not_itself(experiment, tmp_path):
    paths = [experiment(seeds=[3]), tmp_path / "more.yaml", tmp_path / "most.yaml"]
    paths[1].write_text(yaml.safe_dump({"base": str(paths[0]), "bits": ["w4a4"], "modes": ["full"]}))
    paths[2].write_text(yaml.safe_dump({"base": str(paths[1]), "bits": ["w2a2"]}))
    own = {"bits": ["w2a2"], "modes": ["full"], "reports": Path("reports/most")}
    expected = load_config(paths[0]).experiment.model_copy(update=own)
    assert load_config(paths[2]).experiment == expected
    paths[1].write_text(yaml.safe_dump({"base": str(paths[2])}))
    with pytest.raises(InputError, match=r"most\.yaml: is its own base, by way of .*more\.yaml"):
        load_config(paths[2])


ELSEWHERE = {
    "dataset": {"name": "else-where", "classes": 2, "calibration": "${ELSEWHERE}/train", "evaluation": "data/${PART}/val"},
    "weights": "${ELSEWHERE}/weights/{model}.safetensors",
}


def test_paths_may_contain_variables(experiment, monkeypatch):
    monkeypatch.setenv("ELSEWHERE", "/mnt/images")
    monkeypatch.setenv("PART", "small")
    config = load_config(experiment(**ELSEWHERE))
    assert config.experiment.dataset.folder("calibration") == Path("/mnt/images/train")
    assert config.experiment.dataset.folder("evaluation") == Path("data/small/val")
    assert config.weights_path("mobilevit_xxs") == Path("/mnt/images/weights/mobilevit_xxs.safetensors")
    assert config.configured_weights("mobilevit_xxs") == Path("${ELSEWHERE}/weights/mobilevit_xxs.safetensors")


@pytest.mark.parametrize(
    ("environment", "key", "name"),
    [
        ({"PART": "a"}, r"dataset\.calibration: \$\{ELSEWHERE\}/train", "ELSEWHERE"),
        ({"PART": "a", "ELSEWHERE": ""}, r"dataset\.calibration: \$\{ELSEWHERE\}/train", "ELSEWHERE"),
        ({"ELSEWHERE": "a"}, r"dataset\.evaluation: data/\$\{PART\}/val", "PART"),
    ],
)
def test_unset_variable_is_named_but_no_plan_needs_it(experiment, monkeypatch, environment, key, name):
    for variable in ("ELSEWHERE", "PART"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    path = experiment(**ELSEWHERE)
    with pytest.raises(InputError, match=rf"config\.yaml: {key}: {name} is not set .*`make reproduce CONFIG={path} {name}=/path`") as error:
        load_config(path)
    assert "\n" not in str(error.value)
    assert str(load_config(path, allow_unset_env=True).experiment.dataset.calibration) == "${ELSEWHERE}/train"


def test_unset_variable_of_the_weights_is_named(experiment, monkeypatch):
    monkeypatch.delenv("ELSEWHERE", raising=False)
    with pytest.raises(InputError, match=r"config\.yaml: weights: \$\{ELSEWHERE\}/weights/\{model\}\.safetensors: ELSEWHERE is not set"):
        load_config(experiment(weights=ELSEWHERE["weights"]))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_loads_and_has_reports_of_its_own(monkeypatch, name):
    monkeypatch.chdir(REPOSITORY)
    config = load_config(Path(f"config/experiments/{name}.yaml"), allow_unset_env=True)
    assert config.experiment.reports == Path("reports") / name
    assert {*config.experiment.sensitivity.methods} <= config.methods.keys()
    assert all(any(mode in method.modes for method in config.methods.values()) for mode in config.experiment.modes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1,", r"not YAML \(.*\); correct its syntax"),
        (b"a: 2020-13-45", r"not YAML \(month must be in 1\.\.12.*\)"),
        (b"a: " + b"[" * 2000, r"not YAML \(maximum recursion depth exceeded"),
        (b"a: !!timestamp x", r"not YAML \("),
        ("# Gr\u00f6\u00dfe".encode("latin-1"), r"not UTF-8 \('utf-8' codec .*\); save it in this encoding"),
        ("a: 1".encode("utf-16"), r"not UTF-8 \('utf-8' codec .*\); save it in this encoding"),
        (b"", r"Input should be .* \(found None\); correct it"),
    ],
)
def test_file_that_is_no_yaml_is_refused(tmp_path, content, message):
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(InputError, match=rf"config\.yaml: {message}"):
        load_config(tmp_path / "config.yaml")


SMALLEST = {
    "dataset": {"name": "mine", "classes": 2, "calibration": "mine/train", "evaluation": "mine/val"},
    "weights": "mine/{model}.safetensors",
    "models": ["fastvit_t8"],
}


@pytest.fixture
def smallest(tmp_path, monkeypatch):
    """Write an experiment with no key but those without default, under a name, and return its path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    for name in ("models", "methods"):
        (tmp_path / f"config/{name}.yaml").write_text((CONFIG / f"{name}.yaml").read_text())

    def write(name: str, **changes: object) -> Path:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(SMALLEST | changes))
        return path

    return write


def test_defaults_are_those_of_the_embedded_experiment(smallest):
    path = smallest("mine.yaml")
    assert len(path.read_text().splitlines()) <= 10
    experiment = load_config(path).experiment
    embedded = yaml.safe_load((CONFIG / "config.yaml").read_text())
    assert set(embedded["methods"]) <= set(experiment.methods)  # the embedded run leaves one out, to be short
    for key in ("modes", "bits", "seeds"):
        assert getattr(experiment, key) == embedded[key]
    assert experiment.calibration.model_dump() == embedded["calibration"]


def test_model_of_timm_needs_no_entry(smallest):
    assert load_config(smallest("mine.yaml")).models == {"fastvit_t8": Model(family="fastvit", constructor="fastvit_t8")}


def test_unknown_model_names_the_stated_models_file(smallest, tmp_path):
    (tmp_path / "zoo.yaml").write_text("my_network: {family: Mine, constructor: my_network}")
    with pytest.raises(InputError, match=r"neither zoo\.yaml nor timm has it: did you mean my_network\? .* add an entry to zoo\.yaml"):
        load_config(smallest("mine.yaml", models=["my_netwrok"], models_file="zoo.yaml"))


def test_reports_default_to_the_name_of_the_file(smallest):
    assert load_config(smallest("mine.yaml")).experiment.reports == Path("reports/mine")
    assert load_config(smallest("config/config.yaml")).experiment.reports == Path("reports/config")
    assert load_config(smallest("mine.yaml", reports="elsewhere")).experiment.reports == Path("elsewhere")


def test_folders_may_have_spaces_and_letters_of_any_language(smallest):
    experiment = load_config(smallest("mine.yaml", results="/mnt/Größe 2/results", reports="../my reports/v1.0_a-b")).experiment
    assert (experiment.results, experiment.reports) == (Path("/mnt/Größe 2/results"), Path("../my reports/v1.0_a-b"))


def test_reports_of_another_experiment_are_refused(smallest):
    first, second = smallest("mine.yaml"), smallest("other/mine.yaml")
    for _ in range(2):
        claim_reports_folder(load_config(first), first)
    with pytest.raises(InputError, match=r"reports/mine: has the reports of mine\.yaml, which other/mine\.yaml would overwrite; remove"):
        claim_reports_folder(load_config(second), second)
    claim_reports_folder(load_config(smallest("other/mine.yaml", reports="reports/other")), second)


def test_committed_reports_belong_to_their_experiments(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    for marker in Path("reports").rglob("experiment.txt"):
        owner = Path(marker.read_text().strip())
        assert load_config(owner, allow_unset_env=True).experiment.reports == marker.parent


def test_bits_are_parsed_or_refused():
    assert parse_bits("w4a8") == (4, 8)
    with pytest.raises(InputError, match="bit-width 'w44'"):
        parse_bits("w44")


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        ("repqvit", {"conv_input_bits": 32}, "conv_input_bits: this method has no operand in FP32; state 2 to 8"),
        ("repqvit", {"weights": PER_TENSOR["weights"]}, "weights.granularity: this algorithm supports per_channel alone; state that"),
        ("minmax", {"matmuls": TWO_SCHEMES}, "matmuls.scheme: this algorithm does not search, and would take symmetric; state one"),
        (
            "qhyvit-scale",
            {"conv_input_bits": 32},
            "gradients: fisher-quantized quantizes all operands, so that conv_input_bits may not be 32",
        ),
        ("percentile", {"activations": PER_CHANNEL}, "percentile: ranges per channel are not clipped; state 100, or per_tensor first"),
        ("qhyvit", {"split_qkv": True}, "split_qkv: a bridge block has one weight scale"),
        ("qhyvit-integer", {"split_qkv": True}, "split_qkv: no target executes a weight scale for each"),
        ("qhyvit-integer", {"matmuls": ASYMMETRIC}, "matmuls.scheme: openvino-cpu executes none of these in a matmul; state symmetric too"),
        ("qhyvit-integer", {"linear_weights": ASYMMETRIC}, "linear_weights.scheme: openvino-cpu executes none of these in a linear"),
        ("qhyvit-integer", {"activations": PER_CHANNEL}, "activations.granularity: .* in a grouped_conv; state per_tensor too"),
        ("qhyvit-cv", {"zero_point": "saturated"}, "zero_point: saturated ranges of batches may have nothing in common; state widened"),
        ("qhyvit", {"objective": "cosine", **PER_TENSOR}, "objective: blocks are compared by Fisher gradients"),
        ("qhyvit-released", {"objective": "cosine", **PER_TENSOR}, "Input should be 'fisher'"),
        ("qhyvit-tuned", {"tuning": IDLE}, "nothing is tuned, since all are 0"),
    ],
)
def test_settings_that_a_method_cannot_have_are_refused(method, changes, message):
    with pytest.raises(ValidationError, match=message):
        METHODS.validate_python({method: load_preset(method).model_dump() | changes})
