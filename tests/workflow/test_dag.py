"""The workflow end to end, on a tiny project with a real DVC remote."""

import re
import shutil
import signal
import time

import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY_EXPERIMENT, Project, make_project
from safetensors.torch import load_file

from qhyvit.reporting.runs import COLUMNS

CONCLUSIONS = ("reports/results.csv", "reports/hits.csv", "reports/metrics.json")


def planned(project: Project, *arguments: str) -> dict[str, int]:
    """How often each rule would run."""
    output = project.run("-m", "snakemake", "--dry-run", "--quiet", "host", *arguments).stdout
    table = re.search(r"^job +count\n[- ]+\n(.*?)^total", output, flags=re.MULTILINE | re.DOTALL)
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table[1], flags=re.MULTILINE)} if table else {}


@pytest.fixture
def copy(finished, tmp_path) -> Project:
    """A copy of the finished project, time stamps included."""
    shutil.copytree(finished.root, tmp_path / "project", symlinks=True)
    return Project(tmp_path / "project")


def test_a_run_concludes_with_results_tables_and_figures(finished):
    results = pd.read_csv(finished.root / "reports/results.csv")
    assert list(results.columns) == COLUMNS
    assert results.method.tolist() == ["fp32", "minmax", "qhyvit"]
    assert (results.images == 12).all()
    fp32 = results[results.method == "fp32"].iloc[0]
    assert fp32.w_bits == 32
    assert (results.top1_fp32 == fp32.top1).all()
    quantized = results[results.method != "fp32"]
    assert (quantized.drop_low <= quantized["drop"]).all()
    assert (quantized["drop"] <= quantized.drop_high).all()
    assert (quantized.kl > 0).all()
    for name in (
        *("tables/accuracy.md", "tables/accuracy.csv", "figures/accuracy-partial.png", "figures/site_errors-mobilevit_xxs.svg"),
        *("tables/table_ii.csv", "tables/table_iii.tex", "tables/table_iv.md", "tables/improvement.md"),
        *("tables/seeds.md", "figures/drops-partial.svg", "figures/bridge_sites.png", "provenance/runs.csv", "pages/results.html"),
        *("timings/running_time.tex", "timings/drop_against_seconds-partial.svg"),
        *("challenges.csv", "tables/challenges.md", "figures/channel_ranges-mobilevit_xxs.svg", "figures/zero_point_overflow.png"),
    ):
        assert (finished.root / "reports" / name).stat().st_size > 100


def test_a_second_run_does_nothing_and_says_so(finished):
    assert "Nothing to be done" in finished.snakemake().stdout


def test_jobs_to_start_are_looked_for_when_one_ends_and_not_all_the_time(copy):
    figures = ("plot_results", "plot_site_errors", "plot_channel_ranges", "plot_zero_point_overflow", "plot_bridge_sites")
    log = copy.snakemake("--cores", "1", "--verbose", "--forcerun", *figures, "--until", *figures).stdout
    ended = log.count("Finished jobid: ")
    assert ended > len(figures)
    assert log.count("Ready jobs: ") <= 2 * ended


def test_timings_follow_the_results_and_not_the_other_way_round(copy):
    for path in copy.root.glob("results/benchmarks/tiny/*/*.tsv"):
        path.write_text("s\n7\n")
    assert planned(copy) == {}
    copy.snakemake("--forcerun", "timings", "--until", "timings")
    (table,) = (
        pd.read_csv(copy.root / "reports/timings/running_time.csv").query("model != 'mean' and method == 'qhyvit'").to_dict("records")
    )
    assert (table["calibrate"], table["W4A4"], table["total"]) == (7, 7, 14)


def test_conclusions_that_came_with_a_clone_are_no_substitute_for_a_run(copy):
    shutil.rmtree(copy.root / "results")
    shutil.rmtree(copy.root / ".snakemake")
    everything = {"fetch_images": 1, "fetch_weights": 1, "calibrate": 1, "quantize": 2, "evaluate": 2, "evaluate_fp32": 1, "aggregate": 1}
    assert everything.items() <= planned(copy).items()


def test_a_killed_run_is_completed_to_the_same_bytes(finished, tmp_path):
    project = make_project(tmp_path / "project")
    run = project.start()
    deadline = time.monotonic() + 120
    while not list(project.root.glob("results/tiny/*/seed0/calibration.safetensors")):
        assert time.monotonic() < deadline
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (project.root / "reports/results.csv").exists()
    project.snakemake()
    assert project.bytes_of(*CONCLUSIONS) == finished.bytes_of(*CONCLUSIONS)


def test_a_second_run_beside_a_running_one_is_refused(copy):
    (copy.root / "src/qhyvit/cli/aggregate.py").open("a").write("\nimport time\n\ntime.sleep(5)\n")
    with copy.start() as first:
        time.sleep(2)
        second = copy.snakemake(check=False)
        assert first.wait() == 0
    assert second.returncode == 1
    assert "another run is active" in second.stdout


def reasons(project: Project, *arguments: str) -> set[str]:
    """The rules that would run because their params have changed."""
    output = project.run("-m", "snakemake", "--dry-run", *arguments).stdout
    return set(re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    reason: .*Params have changed", output, flags=re.MULTILINE))


def test_prose_in_every_module_reruns_nothing(copy):
    for path in (copy.root / "src").rglob("*.py"):
        path.write_text(re.sub(r'\A"""', '"""Edited: ', path.read_text()) + "\n# edited\n")
    (copy.root / "README.md").write_text("edited")
    assert planned(copy) == {}


def test_constant_of_a_method_reruns_what_that_method_makes(copy):
    with (copy.root / "src/qhyvit/methods/qhyvit.py").open("a") as file:
        file.write("EDITED = 1\n")
    dry_run = copy.run("-m", "snakemake", "--dry-run").stdout
    assert "qhyvit-partial-w4a4.safetensors" in dry_run
    assert not re.search(r"output: .*minmax", dry_run)


def test_constant_of_shared_code_reruns_its_users(copy):
    with (copy.root / "src/qhyvit/evaluation/accuracy.py").open("a") as file:
        file.write("EDITED = 1\n")
    assert {"evaluate", "evaluate_fp32"} <= reasons(copy)
    assert not {"quantize", "calibrate"} & reasons(copy)


def test_another_device_reruns_what_runs_networks(copy):
    copy.configure(device="auto")
    assert reasons(copy) == {"calibrate", "quantize", "evaluate", "evaluate_fp32", "provenance"}  # the last one's table lists settings


def test_a_changed_setting_of_a_method_reruns_that_method(copy):
    path = copy.root / "config/methods.yaml"
    path.write_text(path.read_text().replace("candidates: 3", "candidates: 4"))
    assert planned(copy)["quantize"] == 1


def test_another_experiment_on_the_same_images_takes_what_is_there(copy):
    other = {"base": "config/config.yaml", "methods": ["minmax", "omse"], "reports": "reports/other"}
    (copy.root / "config/other.yaml").write_text(yaml.safe_dump(other))
    jobs = planned(copy, "--configfile", "config/other.yaml")
    assert {name: jobs.get(name) for name in ("quantize", "evaluate", "calibrate", "challenges", "fetch_images")} == {
        "quantize": 1,
        "evaluate": 1,
        "calibrate": None,
        "challenges": None,
        "fetch_images": None,
    }


def test_other_numbers_of_calibration_images_are_runs_of_their_own(copy):
    copy.configure(calibration_sizes=[2], methods=["minmax"])
    copy.snakemake("reports/calibration_size.csv")
    table = pd.read_csv(copy.root / "reports/calibration_size.csv")
    assert table.calibration_images.tolist() == [2, 4]
    assert table.seeds.tolist() == [1, 1]


def test_full_mode_adds_to_the_operands_of_partial_mode(copy):
    copy.configure(modes=["full"], methods=["minmax"])
    assert planned(copy)["quantize"] == 1
    folder = "results/tiny/mobilevit_xxs/seed0"
    copy.snakemake(f"{folder}/minmax-full-w4a4.safetensors")
    operands, everything = (load_file(copy.root / folder / f"minmax-{mode}-w4a4.safetensors") for mode in ("partial", "full"))
    assert operands.keys() < everything.keys()
    assert all(torch.equal(everything[name], tensor) for name, tensor in operands.items())


def test_full_mode_refuses_the_operands_of_another_method(copy):
    inputs = ["--images", "results/tiny/images.csv", "--calibration", "results/tiny/mobilevit_xxs/seed0/calibration.safetensors"]
    outputs = ["--output", "full.safetensors", "--errors", "full.csv"]
    what = ["--config", "config/config.yaml", "--model", "mobilevit_xxs", "--method", "minmax", "--mode", "full", "--bits", "w4a4"]
    partial = "results/tiny/mobilevit_xxs/seed0/qhyvit-partial-w4a4.safetensors"
    refused = copy.run("-m", "qhyvit", "quantize", *what, *inputs, *outputs, "--partial", partial, check=False)
    assert refused.returncode == 2
    assert f"{partial}: not what the same method found" in refused.stdout
    assert not (copy.root / "full.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": []}, "config/config.yaml: modles: Extra inputs are not permitted"),
        ({"methods": ["magic"]}, "config/config.yaml: unknown method 'magic'"),
    ],
)
def test_a_bad_configuration_stops_the_workflow(copy, change, message):
    copy.configure(**change)
    result = copy.snakemake(check=False)
    assert result.returncode == 1
    assert message in result.stdout


def test_without_its_variable_an_experiment_can_be_planned_but_not_run(copy, tmp_path):
    folders = {"calibration": "${ELSEWHERE}/calibration", "evaluation": "${ELSEWHERE}/evaluation"}
    copy.configure(dataset=TINY_EXPERIMENT["dataset"] | folders)
    manifest = copy.bytes_of("results/tiny/images.csv")
    assert planned(copy)["fetch_images"] == 1
    result = copy.snakemake(check=False)
    assert result.returncode == 1
    assert "config/config.yaml: dataset.calibration: ${ELSEWHERE}/calibration: ELSEWHERE is not set" in result.stdout
    assert "rule fetch_images" not in result.stdout
    copy.environment["ELSEWHERE"] = str(copy.root / "data/tiny")
    copy.snakemake("--until", "fetch_images")
    assert copy.bytes_of("results/tiny/images.csv") == manifest
    shutil.move(copy.root / "data/tiny", tmp_path / "moved")
    copy.environment["ELSEWHERE"] = str(tmp_path / "moved")
    assert "fetch_images" not in planned(copy)


def test_a_corrupted_object_in_the_remote_stops_the_workflow(tmp_path):
    project = make_project(tmp_path / "project")
    victim = next(path for path in (project.root / "dvc-store/files").rglob("*") if path.is_file() and path.read_bytes()[1:4] == b"PNG")
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    result = project.snakemake("--until", "fetch_images", check=False)
    assert result.returncode == 1
    assert "data/tiny" in result.stdout
    assert "holds a corrupted one" in result.stdout
    assert not (project.root / "results/tiny/images.csv").exists()
