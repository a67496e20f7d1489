"""The workflow from end to end, on a tiny project with a real DVC remote: what a run makes, keeps and refuses."""

import fcntl
import shutil
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY_EXPERIMENT
from safetensors.torch import load_file

import qhyvit
from qhyvit.config.loading import load_config
from qhyvit.data.calibration_set import calibration_entries, load_batches
from qhyvit.models.zoo import build, load_weights, make_transform
from qhyvit.quantizers.base import same_quantizer
from qhyvit.quantizers.serialization import load_quantizers
from qhyvit.reporting.runs import COLUMNS

FOLDER = "results/tiny/tiny_hybrid/seed0"
CONCLUSIONS = ("reports/results.csv", "reports/correct.csv", "reports/metrics.json")
REPORTS = [
    *(
        "report.html",
        "pages/tables.html",
        "provenance/runs.csv",
        "tables/accuracy.md",
        "tables/challenges_by_network.md",
        "challenges.csv",
    ),
    *("figures/drops-partial.png", "figures/drops-partial.svg", "figures/site_errors-tiny_hybrid.svg", "figures/bridge_sites.png"),
    *("figures/channel_ranges-tiny_hybrid.svg", "timings/running_time.tex", "timings/drop_against_seconds-partial.svg"),
]


def test_run_ends_with_results_tables_figures_and_report(finished):
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
    sizes = {name: (finished.root / "reports" / name).stat().st_size for name in REPORTS}
    assert min(sizes.values()) > 100, sizes


def test_first_page_of_the_report_shows_the_verdicts_on_the_claims(copy):
    (copy.root / "reports/claims.csv").write_text("claim,expected,verdict\nplanted claim,,holds in part\n")
    copy.run("-m", "snakemake", "--report", "claims.html")
    page = (copy.root / "claims.html").read_text()
    assert "planted claim" in page
    assert "holds in part" in page


def test_run_leaves_nothing_in_git_status_but_its_reports(finished):
    assert finished.git_status() == ["?? reports/"]


def test_timings_follow_the_results_and_not_the_reverse(copy):
    for path in copy.root.glob("results/benchmarks/tiny/*/*.tsv"):
        path.write_text("s\n7\n")
    assert "Nothing to be done" in copy.snakemake().stdout
    copy.snakemake("--forcerun", "table_timings", "--until", "table_running_time")
    times = pd.read_csv(copy.root / "reports/timings/running_time.csv").query("model != 'mean' and method == 'qhyvit'")
    assert (times.calibrate.item(), times["W4A4"].item(), times.total.item()) == (7, 14, 21)


def test_minutes_are_those_of_all_jobs_that_run_networks(finished):
    folder = finished.root / "results/benchmarks/tiny"
    written = {path.relative_to(folder).parts[0] for path in folder.rglob("*.tsv")} - {"fetch_images.tsv", "fetch_weights"}
    minutes = pd.read_csv(finished.root / "reports/timings/job_minutes.csv").set_index("rule")
    assert set(minutes.index) == written
    counts = {rule: len(list((folder / rule).rglob("*.tsv"))) for rule in written}
    assert minutes.jobs.to_dict() == minutes.timed.to_dict() == counts


def test_minutes_wait_for_the_jobs_that_they_count(copy):
    copy.configure(sensitivity={"methods": ["minmax"], "bits": ["w4a4"], "images": 1})
    assert "sensitivity" in copy.plan("reports/timings/job_minutes.csv").counts


def test_jobs_are_scheduled_only_when_one_ends(copy):
    log = copy.snakemake("--cores", "1", "--verbose", "--forcerun", "aggregate", "--until", "table_accuracy", "table_paired").stdout
    ended = log.count("Finished jobid: ")
    assert ended >= 3
    assert log.count("Ready jobs: ") <= 2 * ended


def test_committed_reports_do_not_replace_a_run(copy):
    shutil.rmtree(copy.root / "results")
    shutil.rmtree(copy.root / ".snakemake")
    jobs = {"fetch_images": 1, "fetch_weights": 1, "evaluate_fp32": 1, "evaluate": 2, "aggregate": 1}
    quantization = {"calibrate": 1, "recalibrate": 1, "quantize_baseline": 1, "reconstruct": 1}
    assert (jobs | quantization).items() <= copy.plan().counts.items()


def test_experiment_on_the_same_images_reuses_their_results(copy):
    other = {"base": "config/config.yaml", "methods": ["minmax", "omse"], "reports": "reports/other"}
    (copy.root / "config/other.yaml").write_text(yaml.safe_dump(other))
    jobs = copy.plan("--configfile", "config/other.yaml").counts
    assert (jobs["quantize_baseline"], jobs["evaluate"]) == (1, 1)
    assert not {"reconstruct", "recalibrate", "calibrate", "challenges", "fetch_images"} & jobs.keys()


@pytest.mark.slow
def test_other_calibration_sizes_are_separate_runs(copy):
    copy.configure(calibration_sizes=[2], methods=["minmax"])
    copy.snakemake("reports/tables/calibration_size.csv")
    table = pd.read_csv(copy.root / "reports/tables/calibration_size.csv")
    assert table.calibration_images.tolist() == [2, 4]
    assert table.seeds.tolist() == [1, 1]


def test_full_mode_keeps_the_quantizers_of_partial_mode(copy):
    copy.configure(modes=["full"], methods=["minmax"])
    copy.snakemake(f"{FOLDER}/minmax-full-w4a4.safetensors")
    partial, full = (load_file(copy.root / FOLDER / f"minmax-{mode}-w4a4.safetensors") for mode in ("partial", "full"))
    assert partial.keys() < full.keys()
    assert all(torch.equal(full[name], tensor) for name, tensor in partial.items())


def test_full_mode_refuses_quantizers_of_another_method(copy):
    run = ["--config", "config/config.yaml", "--model", "tiny_hybrid", "--method", "minmax", "--mode", "full", "--bits", "w4a4"]
    inputs = ["--images", "results/tiny/images.csv", "--calibration", f"{FOLDER}/calibration.safetensors"]
    outputs = ["--output", "full.safetensors", "--errors", "full.csv"]
    partial = f"{FOLDER}/qhyvit-partial-w4a4.safetensors"
    refused = copy.run("-m", "qhyvit", "quantize", *run, *inputs, *outputs, "--partial", partial, check=False)
    assert refused.returncode == 2
    assert f"{partial}: not written by this method from this calibration in partial mode" in refused.stdout
    assert not (copy.root / "full.safetensors").exists()


@pytest.mark.parametrize("method", ["minmax", "qhyvit"])
def test_workflow_and_api_find_equal_quantizers(finished, monkeypatch, method):
    monkeypatch.chdir(finished.root)
    config = load_config(Path("config/config.yaml"))
    experiment = config.experiment
    for name in ("calibration", "quantization"):
        monkeypatch.setattr(f"qhyvit.api.{name}.SAMPLED_POSITIONS", experiment.calibration.sampled_positions)
    monkeypatch.setattr("qhyvit.api.quantization.load_preset", config.methods.__getitem__)
    module = build(config.models["tiny_hybrid"], experiment.dataset.classes, experiment.dataset.input_size)
    load_weights(module, config.weights_path("tiny_hybrid"))
    entries = calibration_entries(experiment, Path("results/tiny/images.csv"), seed=0)
    images = torch.cat(load_batches(experiment, entries, make_transform(module, experiment.dataset)))
    found = qhyvit.quantize(module, images, method=method, bits="w4a4").quantizers
    expected, _ = load_quantizers(Path(f"results/tiny/tiny_hybrid/seed0/{method}-partial-w4a4.safetensors"))
    pairs = [(found[site][operand], expected[site][operand]) for site in expected for operand in expected[site]]
    assert found.keys() == expected.keys()
    assert all(same_quantizer(*pair) for pair in pairs)


def test_killed_run_is_resumed_to_the_same_bytes(finished, copy):
    shutil.rmtree(copy.root / "reports")
    shutil.rmtree(copy.root / FOLDER)
    run = copy.start("reports/results.csv")
    deadline = time.monotonic() + 300
    while not (copy.root / FOLDER / "calibration.safetensors").exists():
        assert time.monotonic() < deadline
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.2)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (copy.root / "reports/results.csv").exists()
    copy.snakemake("reports/results.csv")
    assert copy.bytes_of(*CONCLUSIONS) == finished.bytes_of(*CONCLUSIONS)


def test_second_run_in_a_folder_is_refused(copy):
    with (copy.root / ".snakemake/run.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = copy.snakemake(check=False)
    assert second.returncode == 1
    assert "another run is active" in second.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modles": []}, "config/config.yaml: modles: unknown key"),
        ({"methods": ["magic"]}, "config/config.yaml: unknown method 'magic'"),
    ],
)
def test_bad_configuration_stops_the_workflow(clone, change, message):
    clone.configure(**change)
    result = clone.snakemake(check=False)
    assert result.returncode == 1
    assert message in result.stdout


@pytest.mark.slow
def test_unset_variable_allows_a_plan_but_no_run(copy, tmp_path):
    folders = {"calibration": "${ELSEWHERE}/calibration", "evaluation": "${ELSEWHERE}/evaluation"}
    copy.configure(dataset=TINY_EXPERIMENT["dataset"] | folders)
    manifest = copy.bytes_of("results/tiny/images.csv")
    result = copy.snakemake(check=False)
    assert result.returncode == 1
    assert "config/config.yaml: dataset.calibration: ${ELSEWHERE}/calibration: ELSEWHERE is not set" in result.stdout
    assert "rule fetch_images" not in result.stdout
    copy.environment["ELSEWHERE"] = str(copy.root / "data/tiny")
    copy.snakemake("--until", "fetch_images")
    assert copy.bytes_of("results/tiny/images.csv") == manifest
    shutil.move(copy.root / "data/tiny", tmp_path / "moved")
    copy.environment["ELSEWHERE"] = str(tmp_path / "moved")
    assert "fetch_images" not in copy.plan().counts
