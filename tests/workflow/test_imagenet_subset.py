"""ImageNet by way of a private remote: drawn and pushed by one machine, pulled and run by others that have no archives."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from conftest import REPOSITORY, TINY_EXPERIMENT, TINY_MODEL, Project, commit_everything, copy_project, write_weights
from ilsvrc import write_archives
from safetensors.torch import load_file

pytestmark = pytest.mark.slow
ARCHIVES, NAME, EXPERIMENT, WEIGHTS = "../ilsvrc", "mini-2", "config/experiments/mini-2.yaml", "imagenet/weights/tiny_hybrid.safetensors"
RESULTS = f"reports/{NAME}/results.csv"
BASE = TINY_EXPERIMENT | {
    "dataset": TINY_EXPERIMENT["dataset"] | {"name": "base", "classes": 3},
    "weights": "imagenet/weights/{model}.safetensors",
    "models": ["tiny_hybrid"],
    "methods": ["minmax"],
    "calibration": {"images": 3, "sampled_positions": 4},
}
FETCH_IMAGES = ("-m", "qhyvit", "fetch", "images", "--config", EXPERIMENT, "--output", "images.csv")
FETCH_WEIGHTS = ("-m", "qhyvit", "fetch", "weights", "--config", EXPERIMENT, "--model", "tiny_hybrid", "--output", "weights.json")


def make(project: Project, *arguments: str, check: bool = True) -> str:
    """Run a target of the Makefile with the environment of the tests in place of .venv, and return what it prints."""
    command = ["make", "--silent", "--old-file", ".venv/.installed", f"BIN={Path(sys.executable).parent}", *arguments]
    result = subprocess.run(
        command, cwd=project.root, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert not check or result.returncode == 0, result.stdout
    return result.stdout


def make_subset(project: Project, *arguments: str, check: bool = True) -> str:
    given = (f"IMAGENET={ARCHIVES}", f"NAME={NAME}", "EVALUATION=2", "CLASSES=3", "BASE=base.yaml")
    return make(project, "subset", *given, *arguments, check=check)


def refusal(printed: str) -> str:
    """The only line that a failed command printed, next to what make says and what another command said before."""
    (line,) = [line for line in printed.splitlines() if not line.startswith(("make:", f"imagenet/{NAME}: 9 images"))]
    return line


def set_remote(project: Project, url: str, **settings: str) -> None:
    project.run("-m", "dvc", "--cd", "imagenet", "remote", "add", "--force", "--default", "private", url)
    for key, value in settings.items():
        project.run("-m", "dvc", "--cd", "imagenet", "remote", "modify", "private", key, value)


def clone_of(project: Project, root: Path) -> Project:
    subprocess.run(["git", "clone", "--quiet", project.root, root], check=True)
    return Project(root, project.environment)


def object_of(place: Path, content: bytes) -> Path:
    (found,) = [path for path in place.rglob("*") if path.is_file() and path.read_bytes() == content]
    return found


@pytest.fixture
def first(tiny, tmp_path) -> Project:
    """A machine with the archives and the weights."""
    project = copy_project(tiny, tmp_path / "first")
    (project.root / "imagenet/.dvc").mkdir(parents=True)
    for name in ("Makefile", "imagenet/.dvc/.gitignore"):
        shutil.copy(REPOSITORY / name, project.root / name)
    committed = subprocess.run(["git", "show", "HEAD:imagenet/.dvc/config"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    (project.root / "imagenet/.dvc/config").write_text(committed.stdout)  # a developer's own remote is not that of the test
    (project.root / "base.yaml").write_text(yaml.safe_dump(BASE))
    write_archives(tmp_path / "ilsvrc")
    write_weights(project.root / WEIGHTS, 3, **TINY_MODEL)
    commit_everything(project.root)
    return project


@pytest.fixture
def pushed(first, tmp_path) -> Project:
    """The first machine after it has pushed images and weights to a folder, with everything in git."""
    set_remote(first, str(tmp_path / "private"))
    make_subset(first)
    first.run("-m", "qhyvit", "share", WEIGHTS)
    commit_everything(first.root)
    return first


@pytest.fixture
def second(pushed, tmp_path) -> Project:
    """Another machine, without the archives."""
    return clone_of(pushed, tmp_path / "second")


def test_second_machine_gets_the_results_of_the_first_and_those_of_the_archives(pushed, second, tmp_path):
    make(pushed, "share-weights", f"CONFIG={EXPERIMENT}")  # once more, with the workflow
    pushed.snakemake("--configfile", EXPERIMENT, "--until", "aggregate")
    base = {"base": EXPERIMENT, "reports": "reports/direct"}
    splits = {"layout": "imagenet", "calibration": f"{ARCHIVES}/train", "evaluation": f"{ARCHIVES}/val"}
    dataset = BASE["dataset"] | splits | {"name": "direct", "subset": {"calibration": 1, "evaluation": 2}}
    (pushed.root / "direct.yaml").write_text(yaml.safe_dump(base | {"dataset": dataset}))
    pushed.snakemake("--configfile", "direct.yaml", "--until", "aggregate")
    shutil.rmtree(tmp_path / "ilsvrc")
    second.snakemake("--configfile", EXPERIMENT, "--until", "aggregate")
    assert second.bytes_of(RESULTS, f"results/{NAME}/images.csv") == pushed.bytes_of(RESULTS, f"results/{NAME}/images.csv")
    logits = [load_file(pushed.root / f"results/{name}/tiny_hybrid/fp32.safetensors")["logits"] for name in (NAME, "direct")]
    assert torch.equal(*logits)
    (drawn,), (direct,) = pushed.bytes_of(RESULTS), pushed.bytes_of("reports/direct/results.csv")
    assert drawn == direct.replace(b"\ndirect,", f"\n{NAME},".encode())


@pytest.fixture
def s3(monkeypatch):
    """URL of an S3 server, and its client."""
    for name in ("dvc_s3", "flask", "flask_cors"):
        pytest.importorskip(name)
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    client = pytest.importorskip("boto3").client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="private")
    yield endpoint, client
    server.stop()


def test_s3_remote_delivers_the_same_results_and_its_corrupted_object_is_named(first, s3, tmp_path):
    endpoint, client = s3
    first.environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    set_remote(first, "s3://private/qhyvit", endpointurl=endpoint)
    assert "pushed to private (s3://private/qhyvit)" in make_subset(first)
    first.run("-m", "qhyvit", "share", WEIGHTS)
    commit_everything(first.root)
    second, third = clone_of(first, tmp_path / "second"), clone_of(first, tmp_path / "third")
    for machine in (first, second):
        machine.snakemake("--configfile", EXPERIMENT, "--until", "aggregate")
    assert second.bytes_of(RESULTS) == first.bytes_of(RESULTS)
    victim = max(client.list_objects_v2(Bucket="private")["Contents"], key=lambda stored: stored["Size"])["Key"]  # the weights
    client.put_object(Bucket="private", Key=victim, Body=b"other")
    line = refusal(third.run(*FETCH_WEIGHTS, check=False).stdout)
    assert f"holds a corrupted {victim.removeprefix('qhyvit/')} (fix: delete there" in line


def test_corrupted_object_is_named_and_its_fix_works(pushed, second, tmp_path):
    victim = object_of(tmp_path / "private", next((pushed.root / f"imagenet/{NAME}/evaluation").rglob("*.JPEG")).read_bytes())
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    name = victim.relative_to(tmp_path / "private")
    result = second.run(*FETCH_IMAGES, check=False)
    line = refusal(result.stdout)
    assert result.returncode == 2
    assert line.startswith(f"qhyvit: imagenet/{NAME}: `dvc pull` failed: ")
    (listed,) = (tmp_path / "private").rglob("*.dir")
    objects = f"{name} and {listed.relative_to(tmp_path / 'private')}"
    assert f"holds a corrupted {name} (fix: delete there {objects}, then `qhyvit share imagenet/{NAME}` on a machine that has it)" in line
    assert not (second.root / "images.csv").exists()
    victim.unlink()
    listed.unlink()
    pushed.run("-m", "qhyvit", "share", f"imagenet/{NAME}")
    second.run(*FETCH_IMAGES)


def test_missing_object_is_named_and_its_fix_works(pushed, second, tmp_path):
    victim = object_of(tmp_path / "private", (pushed.root / WEIGHTS).read_bytes())
    victim.unlink()
    line = refusal(second.run(*FETCH_WEIGHTS, check=False).stdout)
    assert f"md5: {victim.parent.name}{victim.name}" in line
    assert f"lacks an object (fix: `qhyvit share {WEIGHTS}` on a machine that has it)" in line
    pushed.run("-m", "qhyvit", "share", WEIGHTS)
    second.run(*FETCH_WEIGHTS)


def test_machine_without_the_remote_is_told_and_keeps_the_data_of_the_project(second):
    configuration = second.root / "imagenet/.dvc/config"
    configuration.write_text(re.sub(r"remote = .*|\['remote.*\n.*", "", configuration.read_text()))
    line = refusal(second.run(*FETCH_IMAGES, check=False).stdout)
    assert line.startswith("qhyvit: imagenet/.dvc/config: names no remote; name one that you alone read: `dvc --cd imagenet remote add")
    second.run("-m", "qhyvit", "fetch", "images", "--config", "config/config.yaml", "--output", "images.csv")


def test_subset_is_refused_without_a_remote_and_for_one_that_is_published(first):
    assert "names no remote; name one that you alone read" in refusal(make_subset(first, check=False))
    set_remote(first, str(first.root / "dvc-store"))
    assert "is published with this project, and ImageNet may not be; name one" in refusal(make_subset(first, check=False))
    assert not (first.root / "imagenet" / NAME).exists()


def test_subset_with_another_seed_or_too_few_images_is_refused(pushed):
    assert "exists with seed 0 instead of 1; give this subset another name" in refusal(make_subset(pushed, "SEED=1", check=False))
    line = refusal(make_subset(pushed, "NAME=more", "CALIBRATION=2", check=False))
    assert "ILSVRC2012_img_train.tar: class n01000000 has 1 images, 2 are asked for; add images or ask for fewer calibration" in line
    assert not pushed.git_status()


def test_subset_with_the_name_of_another_experiment_is_refused(first):
    set_remote(first, str(first.root.parent / "private"))
    shutil.copy(first.root / "config/config.yaml", first.root / EXPERIMENT)
    line = refusal(make_subset(first, check=False))
    assert f"{EXPERIMENT}: is an experiment on other images than those of imagenet/{NAME}; give the subset another name" in line
    assert not (first.root / "imagenet" / NAME).exists()


def test_subset_drawn_anew_with_other_classes_does_not_keep_the_former_experiment(pushed):
    shutil.rmtree(pushed.root / "imagenet" / NAME)
    (pushed.root / f"imagenet/{NAME}.dvc").unlink()
    line = refusal(make_subset(pushed, "CLASSES=2", check=False))
    assert f"{EXPERIMENT}: is an experiment on 3 classes, not 2; remove it, or give the subset another name" in line
    assert not (pushed.root / "imagenet" / NAME).exists()


def test_project_pushes_nothing_private_to_its_own_store(pushed):
    before = sorted((pushed.root / "dvc-store").rglob("*"))
    pushed.run("-m", "dvc", "pull", "--quiet")
    pushed.run("-m", "dvc", "push")
    assert sorted((pushed.root / "dvc-store").rglob("*")) == before


def test_image_that_has_changed_since_it_was_tracked_is_not_shared(pushed):
    image = next((pushed.root / f"imagenet/{NAME}/evaluation").rglob("*.JPEG"))
    image.unlink()
    image.write_bytes(b"other")
    line = refusal(make_subset(pushed, check=False))
    assert f"imagenet/{NAME}: has changed since imagenet/{NAME}.dvc recorded it; to undo this: `dvc --cd imagenet checkout --force" in line
