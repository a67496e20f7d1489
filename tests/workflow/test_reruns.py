"""Jobs that rerun after a change of code or settings, on a tiny project whose run is finished."""

import re

import pytest
import yaml
from conftest import TINY_EXPERIMENT, Project

FOLDER = "results/tiny/tiny_hybrid/seed0"
RUNS_NETWORKS = {"calibrate", "recalibrate", "quantize_baseline", "reconstruct", "evaluate", "evaluate_fp32"}


def append(project: Project, path: str, text: str) -> None:
    with (project.root / path).open("a") as file:
        file.write(text)


def test_prose_in_all_modules_reruns_nothing(copy):
    for path in (copy.root / "src").rglob("*.py"):
        path.write_text(re.sub(r'\A"""', '"""Edited: ', path.read_text()) + "\n# edited\n")
    append(copy, "README.md", "edited")
    assert not copy.plan().counts


def test_changed_constants_rerun_exactly_their_users(copy):
    for module in ("analysis/norms", "reporting/tables/paired"):
        append(copy, f"src/qhyvit/{module}.py", "EDITED = 1\n")
    plan = copy.plan()
    assert plan.changed() == {"challenges", "table_code", "table_paired"}
    assert not {"reconstruct", "evaluate", "aggregate"} & plan.counts.keys()


def test_changed_constant_of_a_method_reruns_that_method(copy):
    append(copy, "src/qhyvit/methods/qhyvit.py", "EDITED = 1\n")
    plan = copy.plan()
    assert plan.changed() == {"reconstruct"}
    assert f"{FOLDER}/qhyvit-partial-w4a4.json" in plan.outputs()
    assert not [path for path in plan.outputs() if "minmax" in path]


@pytest.mark.parametrize(
    ("module", "rules"),
    [
        ("data/manifest", {"fetch_images"}),
        ("models/zoo", {"fetch_weights"}),
        ("cli/calibrate", {"calibrate"}),
        ("cli/recalibrate", {"recalibrate"}),
        ("cli/quantize", {"quantize_baseline", "reconstruct"}),
        ("cli/evaluate", {"evaluate_fp32"}),  # whose logits `evaluate` reads
        ("cli/aggregate", {"aggregate"}),
        ("cli/challenges", {"challenges"}),
    ],
    ids=lambda value: value.rpartition("/")[2] if isinstance(value, str) else "",
)
def test_changed_code_of_a_command_reruns_its_rules(copy, module, rules):
    append(copy, f"src/qhyvit/{module}.py", "EDITED = 1\n")
    assert copy.plan().changed() >= rules


def test_other_number_of_calibration_images_reruns_the_calibration(copy):
    copy.configure(calibration={"images": 3, "sampled_positions": 4, "batch_size": 4})
    plan = copy.plan()
    assert "calibrate" in plan.changed()
    assert plan.counts.keys() >= {"quantize_baseline", "reconstruct", "evaluate"}


def test_subset_of_the_images_reruns_their_check(copy):
    copy.configure(dataset=TINY_EXPERIMENT["dataset"] | {"subset": {"calibration": 2, "evaluation": 4}})
    assert "fetch_images" in copy.plan().changed()


def test_changed_device_reruns_what_runs_networks(copy):
    copy.configure(device="auto")
    plan = copy.plan()
    assert plan.changed() == {"calibrate", "evaluate_fp32"}  # and by them, all that reads what these make
    assert plan.counts.keys() >= RUNS_NETWORKS
    assert not {"fetch_images", "fetch_weights"} & plan.counts.keys()


def test_stated_mean_reruns_what_runs_networks_and_no_check_of_images(copy):
    copy.configure(dataset=TINY_EXPERIMENT["dataset"] | {"mean": [0.5, 0.5, 0.5]})
    plan = copy.plan()
    assert plan.changed() >= {"calibrate", "evaluate_fp32"}
    assert plan.counts.keys() >= RUNS_NETWORKS
    assert not {"fetch_images", "fetch_weights"} & plan.counts.keys()


def test_changed_setting_of_a_method_reruns_that_method(copy):
    path = copy.root / "config/methods.yaml"
    path.write_text(path.read_text().replace("candidates: 3", "candidates: 4"))
    assert copy.plan().changed() == {"reconstruct"}


def test_other_runs_of_sensitivity_rerun_none_that_is_there(copy):
    measured = f"{FOLDER}/minmax-partial-w4a4.sensitivity.csv"
    copy.configure(sensitivity={"methods": ["minmax"], "bits": ["w4a4"], "images": 1})
    copy.snakemake(measured)
    copy.configure(sensitivity={"methods": ["minmax", "qhyvit"], "bits": ["w4a4"], "images": 1})
    assert not copy.plan(measured).counts
    copy.configure(sensitivity={"methods": ["minmax", "qhyvit"], "bits": ["w4a4"], "images": 2})
    assert copy.plan(measured).changed() == {"sensitivity"}


@pytest.mark.parametrize("section", ["model", "dataset"])
def test_weights_are_trained_again_with_other_settings_of_the_network(clone, section):
    rules = clone.root / "workflow/rules/train.smk"
    text = rules.read_text()
    for command, make in (("train", "touch"), ("fetch cifar10", "mkdir -p")):
        text = text.replace(f'"qhyvit {command} ', f'"{make} {{output}} # ')
    rules.write_text(text)
    weights = "results/training/mobilevit_xxs.safetensors"
    clone.snakemake(weights)
    assert not clone.plan(weights).counts
    if section == "model":
        models = yaml.safe_load((clone.root / "config/models.yaml").read_text())
        models["mobilevit_xxs"]["arguments"] = {"act_layer": "gelu"}
        (clone.root / "config/models.yaml").write_text(yaml.safe_dump(models))
    else:
        clone.configure(dataset=yaml.safe_load((clone.root / "config/config.yaml").read_text())["dataset"] | {"classes": 11})
    assert clone.plan(weights).changed() == {"train_weights"}
