"""Every stage of the tiny project on a disk that is full while it writes: one line, nothing half-written."""

import re
import resource
import shutil
import subprocess
import sys
from functools import partial

import pytest
from conftest import copy_project, write_weights

# Engines convert networks in the system's temporary folder.
PLACE = "(new/.*|reports/weights.lock.yaml|.*/fp32.xml|a temporary file or the standard output)"
IMAGES, NETWORK = "--images results/tiny/images.csv", "--model tiny_hybrid"
SEED = "results/tiny/tiny_hybrid/seed0"
CALIBRATION = f"--calibration {SEED}/calibration.safetensors"
QUANTIZED = f"{SEED}/minmax-partial-w4a4.safetensors"
QUANTIZE = f"quantize {NETWORK} {IMAGES} {CALIBRATION} --method minmax --mode partial --output new/q.safetensors --errors new/q.csv"
CONVNEXT = "--model test_convnext --checkpoint convnext/weights.safetensors --classes 2 --size 64"
LOGITS = "results/tiny/tiny_hybrid/fp32.safetensors"
RUN = "--method minmax --bits w8a8 --seed 0"
CHALLENGES = "--output new/c.csv --channels new/r.csv --summary new/m.json"
FIGURE = f"figure channel_ranges --input channel_ranges={SEED}/challenges/channel_ranges.csv"
COMMANDS = {
    "fetch images": "fetch images --output new/images.csv --stamps new/stamps.csv --state first",
    "fetch weights": f"fetch weights {NETWORK} --output new/weights.json --stamps new/stamps.csv --state first",
    "fetch checkpoint": "fetch checkpoint weights.pt --output new/weights.safetensors",
    "calibrate": f"calibrate {NETWORK} {IMAGES} --seed 0 --output new/c.safetensors",
    "recalibrate": f"recalibrate {NETWORK} {IMAGES} {CALIBRATION} --method qhyvit --bits w4a4 --output new/r.safetensors",
    "quantize": f"{QUANTIZE} --bits w4a4",
    "predict": f"predict {NETWORK} {IMAGES} --shard 1 --output new/shard.safetensors",
    "evaluate": f"evaluate {NETWORK} {IMAGES} --output new/fp32.json --logits new/fp32.safetensors",
    "challenges": f"challenges {NETWORK} {CALIBRATION} {CHALLENGES}",
    "sensitivity": f"sensitivity {NETWORK} {IMAGES} --quantized {QUANTIZED} --output new/s.csv",
    "export openvino": f"export {NETWORK} {IMAGES} --quantized w8a8.safetensors --output new/model.xml",
    "export onnx": f"export {NETWORK} {IMAGES} --quantized w8a8.safetensors --output new/model.onnx",
    "execute": f"execute {NETWORK} {IMAGES} {RUN} --exported w8a8.xml --logits {LOGITS} --output new/r.json",
    "convert": f"convert {CONVNEXT} --images data/tiny/evaluation --method minmax --output new/converted",
    "peer nncf": f"peer {NETWORK} {IMAGES} --peer nncf --seed 0 --output new/model.xml",
    "peer onnxruntime": f"peer {NETWORK} {IMAGES} --peer onnxruntime --seed 0 --output new/model.onnx",
    "aggregate": f"aggregate results/tiny/tiny_hybrid/fp32.json {SEED}/minmax-partial-w4a4.json {IMAGES} --output new",
    "table": "table accuracy --output new/accuracy --input results=reports/results.csv --input correct=reports/correct.csv",
    "figure": f"{FIGURE} --svg new/f.svg --png new/f.png",
    "report": "report results=reports/results.csv --output new/pages.html",
    "inspect": "inspect tiny_hybrid --json new/description.json",
}


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """The finished tiny project, with quantizers that engines execute, and weights as PyTorch saves them."""
    project = copy_project(finished, tmp_path_factory.mktemp("stages") / "project")
    project.environment["QHYVIT_CONFIG"] = "config/config.yaml"
    project.configure(bits=["w4a4", "w8a8"], sensitivity={"images": 2})
    (project.root / "data.dvc").unlink()  # DVC writes too
    project.run("-m", "qhyvit", *QUANTIZE.replace("new/q.safetensors", "w8a8.safetensors").split(), "--bits", "w8a8")
    project.run("-m", "qhyvit", *f"export {NETWORK} {IMAGES} --quantized w8a8.safetensors --output w8a8.xml".split())
    write_weights(project.root / "convnext/weights.safetensors", 2, family="ConvNeXt", constructor="test_convnext")
    project.run("-c", "import torch; torch.save({'weight': torch.zeros(9)}, 'weights.pt')")
    shutil.rmtree(project.root / "new")
    return project


def files(project):
    """List what is there, except for bytecode and locks."""
    found = {str(path.relative_to(project.root)) for path in project.root.rglob("*") if path.suffix not in {".pyc", ".guard"}}
    return {name for name in found if not name.endswith("__pycache__")}


def run(project, arguments, bytes_of_a_file=None):
    """Run a command whose files have at most so many bytes, and return its exit code and its lines on stderr."""
    limit = bytes_of_a_file and partial(resource.setrlimit, resource.RLIMIT_FSIZE, (bytes_of_a_file, bytes_of_a_file))
    command = [sys.executable, "-m", "qhyvit", *arguments.split()]
    done = subprocess.run(command, cwd=project.root, env=project.environment, preexec_fn=limit, capture_output=True, text=True, check=False)
    return done.returncode, [line for line in done.stderr.splitlines() if "Warning" not in line]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_full_disk_ends_a_command_in_one_line(project, command):
    before = files(project)
    code, lines = run(project, command, 16)
    assert (code, len(lines)) == (2, 1), lines
    assert re.fullmatch(f"qhyvit: {PLACE}: cannot be written .*; free space there, or give another folder", lines[0]), lines
    assert files(project) - before <= {"new"}
    shutil.rmtree(project.root / "new", ignore_errors=True)


@pytest.mark.slow
def test_full_disk_while_images_are_decoded_ends_in_one_line(project):
    shutil.rmtree(project.root / "results/decoded")
    code, lines = run(project, COMMANDS["predict"], 1000)
    assert code == 2
    assert re.fullmatch(r"qhyvit: results/decoded/\w+.npy: cannot be written .*", lines[-1]), lines
    assert {path.suffix for path in (project.root / "results/decoded").iterdir()} <= {".lock"}


@pytest.mark.slow
def test_full_disk_in_a_run_is_named_in_the_log_of_the_job(tiny, tmp_path):
    project = copy_project(tiny, tmp_path / "project")
    project.snakemake("results/tiny/images.csv", "results/tiny/tiny_hybrid/weights.json")
    job = "results/tiny/tiny_hybrid/seed0/calibration.safetensors"
    limited = ["bash", "-c", 'trap "" XFSZ; ulimit -f 20; exec "$@"', "run", sys.executable, "workflow/scripts/run.py", job]
    subprocess.run(limited, cwd=project.root, env=project.environment, capture_output=True, check=False)
    log = (project.root / "logs/tiny/calibrate/tiny_hybrid-seed0.log").read_text()
    assert f"qhyvit: {job}: cannot be written (File too large); free space there, or give another folder\n" in log
    assert "Traceback" not in log
    assert not list((project.root / job).parent.glob("*"))
