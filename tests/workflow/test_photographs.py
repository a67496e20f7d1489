"""The configurations for photographs, run as they are except for their size: archives of ILSVRC2012, and a folder of labelled images."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import Project, write_weights
from ilsvrc import VALIDATION, write_archives

VARIABLE = "IMAGENET_MINI"
FEW = {"methods": ["minmax"], "bits": ["w8a8"], "modes": ["partial"]}


def shrink(clone: Project, name: str, **changes: object) -> str:
    """A configuration file based on ``name``, with changes; those of the calibration and the data set keep their other keys."""
    base = yaml.safe_load((clone.root / f"config/experiments/{name}.yaml").read_text())
    whole = {"calibration": yaml.safe_load((clone.root / "config/config.yaml").read_text())["calibration"], "dataset": base["dataset"]}
    merged = {key: whole[key] | value if key in whole else value for key, value in changes.items()}
    path = clone.root / f"config/small-{name}.yaml"
    path.write_text(yaml.safe_dump({"base": f"config/experiments/{name}.yaml"} | FEW | merged))
    return str(path.relative_to(clone.root))


def results(clone: Project, reports: str) -> pd.DataFrame:
    for table in ("accuracy.md", "table_ii.csv", "improvement.tex"):
        assert (clone.root / reports / "tables" / table).stat().st_size > 100
    return pd.read_csv(clone.root / reports / "results.csv").set_index(["model", "method"])


@pytest.mark.slow
def test_archives_of_ilsvrc_end_in_a_report(clone, tmp_path):
    write_archives(tmp_path / "ilsvrc")
    write_weights(clone.root / "imagenet/weights/efficientformer_l1.safetensors", 3, family="", constructor="efficientformer_l1")
    config = shrink(
        clone,
        "imagenet",
        models=["efficientformer_l1"],
        dataset={"classes": 3, "input_size": 64},
        calibration={"images": 3, "sampled_positions": 4},
        evaluation={"shards": 1},  # there is but one batch
    )
    clone.environment["IMAGENET"] = str(tmp_path / "ilsvrc")
    clone.snakemake("--configfile", config, "--report", "reports/small-imagenet/report.html", "--report-after-run")
    assert clone.git_status() == ["?? config/small-imagenet.yaml", "?? reports/"]
    assert sorted(path.name for path in (clone.root / "reports").iterdir()) == ["small-imagenet"]
    assert "Image set: <strong>imagenet</strong>" in (clone.root / "reports/small-imagenet/report.html").read_text()
    found = results(clone, "reports/small-imagenet")
    assert found.images.tolist() == [len(VALIDATION)] * 2
    manifest = pd.read_csv(clone.root / "results/imagenet/images.csv")
    assert manifest.groupby("split").size().to_dict() == {"calibration": 3, "evaluation": len(VALIDATION)}


@pytest.mark.skipif(
    VARIABLE not in os.environ, reason=f"{VARIABLE} does not name a folder of photographs and weights: see config/README.md"
)
def test_40_photographs_end_in_tables(clone, tmp_path):
    source = Path(os.environ[VARIABLE])
    for folder, count in (("compatible", 8), ("val", 40)):
        labels = pd.read_csv(source / folder / "labels.csv").sample(count, random_state=0)
        (tmp_path / folder).mkdir()
        labels.to_csv(tmp_path / folder / "labels.csv", index=False)
        for name in labels.filename:
            shutil.copy(source / folder / name, tmp_path / folder)
    (tmp_path / "weights").symlink_to((source / "weights").resolve())
    clone.environment[VARIABLE] = str(tmp_path)
    clone.snakemake("--configfile", shrink(clone, "imagenet-mini", calibration={"images": 8}))
    found = results(clone, "reports/small-imagenet-mini")
    assert sorted(found.index) == [
        (model, method) for model in ("mobilenetv2_100", "tf_efficientnet_lite0") for method in ("fp32", "minmax")
    ]
    assert (found.images == 40).all()
    assert (found.top1[:, "fp32"] >= 60).all()  # about 80 on all 800: fewer than 24 of 40 is next to impossible
