"""Plans of `snakemake -n` for the project's experiments."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import REPOSITORY

from qhyvit.config.loading import load_config
from qhyvit.reporting.benchmark_files import experiment_files

MODELS = ["mobilevit_xxs", "mobile_former_26m", "efficientformer_l1"]  # of 24: a plan of all takes half a minute


@pytest.fixture
def imagenet(clone) -> str:
    """The experiment on ImageNet with a few models, without the variable that names the folder of images."""
    clone.environment.pop("IMAGENET", None)
    (clone.root / "imagenet.yaml").write_text(yaml.safe_dump({"base": "config/experiments/imagenet.yaml", "models": MODELS}))
    return "imagenet.yaml"


def test_imagenet_is_planned_without_data(clone, imagenet):
    networks, methods, with_full_mode, bit_widths, shards = len(MODELS), 16, 8, 2, 8
    runs = networks * (methods + with_full_mode)
    reconstructions = networks * 2 * 2 * bit_widths  # qhyvit and qhyvit-cv in both modes
    passes = 4  # gradients of the network quantized with symmetric or asymmetric activations, of ptq4vit-released; tokens of easyquant
    expected = {
        "fetch_images": 1,
        "fetch_weights": networks,
        "calibrate": networks,
        "recalibrate": networks * passes * bit_widths,
        "evaluate_fp32": networks,
        "quantize_baseline": runs * bit_widths - reconstructions,
        "reconstruct": reconstructions,
        "predict": (runs + networks) * shards,
        "evaluate": runs,
        "aggregate": 1,
    }
    assert expected.items() <= clone.plan("--quiet", "rules", "--configfile", imagenet).counts.items()


@pytest.mark.parametrize(
    ("dataset", "awaits"),
    [({}, True), ({"subset": {"calibration": 1, "evaluation": 5}}, False), ({"layout": "labelled-folders"}, False)],
)
def test_network_is_calibrated_after_its_check_on_all_of_imagenet_only(clone, imagenet, dataset, awaits):
    base = yaml.safe_load((clone.root / "config/experiments/imagenet.yaml").read_text())["dataset"]
    few = {"models": MODELS[:1], "methods": ["minmax"], "modes": ["partial"], "evaluation": {"shards": 1}}
    content = {"base": "config/experiments/imagenet.yaml", "dataset": base | dataset, **few}
    (clone.root / imagenet).write_text(yaml.safe_dump(content))
    jobs = clone.plan("--configfile", imagenet, "--until", "calibrate").jobs
    (calibrate,) = [job for job in jobs if job.rule == "calibrate"]
    assert ("results/imagenet/mobilevit_xxs/fp32.json" in calibrate.input) is awaits


def test_imagenet_without_its_variable_stops_at_once(clone, imagenet):
    result = clone.snakemake("--configfile", imagenet, "--until", "fetch_images", check=False)
    assert result.returncode == 1
    assert "${IMAGENET}/train: IMAGENET is not set in the environment" in result.stdout
    assert f"`make reproduce CONFIG={imagenet} IMAGENET=/path`" in result.stdout
    assert "rule fetch_images" not in result.stdout


@pytest.mark.parametrize(
    ("experiment", "figures"),
    [
        ("full-mode", {"drops-full"}),  # the steps of the ablation have no full mode
        ("ablation", {"drops-partial", "ablation-partial", "seeds-partial"}),
    ],
)
def test_experiment_plans_the_figures_that_it_has_runs_for(clone, experiment, figures):
    outputs = " ".join(clone.plan("--configfile", f"config/experiments/{experiment}.yaml").outputs())
    assert set(re.findall(r"/figures/((?:drops|seeds|ablation)-\w+)\.svg", outputs)) == figures


def test_configuration_is_written_with_the_results(clone):
    """Its versions of packages are those of the reproduction."""
    (job,) = [job for job in clone.plan("reports/provenance/configuration.csv").jobs if job.rule == "table_configuration"]
    assert job.input == ["reports/results.csv"]


def test_what_a_plan_imports_is_without_torch():
    rules = (REPOSITORY / "workflow/rules/common.smk").read_text()
    imports = re.findall(r"^from qhyvit.*|^from workflow.*", rules, flags=re.MULTILINE)
    assert len(imports) > 10
    program = "; ".join([*imports, "import sys", "print({'torch', 'timm', 'torchvision'} & sys.modules.keys())"])
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    "change",
    [
        {"sensitivity": {"methods": ["qhyvit"], "bits": ["w6a6"]}, "calibration_sizes": [8], "seeds": [0, 3]},
        {"modes": ["partial", "full"], "evaluation": {"shards": 2}},
        {
            "deployment": {
                "openvino": {"methods": ["qhyvit-integer"], "bits": ["w8a8"]},
                "onnx": {"methods": ["qhyvit-integer"], "bits": ["w6a6"]},
                "peers": ["nncf", "onnxruntime"],
            }
        },
    ],
    ids=["sensitivity and sizes", "full mode and shards", "deployment"],
)
def test_benchmark_files_of_an_experiment_are_those_of_its_plan(clone, change, monkeypatch):
    few = {"base": "config/config.yaml", "models": ["mobilevit_xxs"], "methods": ["minmax", "qhyvit", "qhyvit-integer"]}
    (clone.root / "mine.yaml").write_text(yaml.safe_dump(few | change))
    planned = clone.run("-m", "snakemake", "--dry-run", "--configfile", "mine.yaml").stdout
    found = set(re.findall(r"benchmark: results/benchmarks/cifar10/(.+)\.tsv", planned))
    monkeypatch.chdir(clone.root)
    assert experiment_files(load_config(clone.root / "mine.yaml")) == {name for name in found if not name.startswith("fetch_")}
