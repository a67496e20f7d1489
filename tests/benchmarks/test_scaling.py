import numpy as np
import pandas as pd
import pytest

from benchmarks.cost_model import fit_cpu, fit_gpu, image_seconds
from benchmarks.scaling import predict, schedule
from workflow.scripts.snakemake_log import Job


class Costs:
    """Two shards, each with 3 s on a core and 10 s of networks, which a GPU runs five times as fast; all else takes 1 s."""

    def network_seconds(self, job: Job, gpu: bool) -> float:
        return (2.0 if gpu else 10.0) if job.rule == "predict" else 0.0

    def other_seconds(self, job: Job) -> float:
        return 3.0 if job.rule == "predict" else 1.0


JOBS = {
    0: Job("all", input=["merged"]),
    1: Job("evaluate", input=["a", "b"], output=["merged"]),
    2: Job("predict", input=["quantized"], output=["a"]),
    3: Job("predict", input=["quantized"], output=["b"]),
    4: Job("reconstruct", output=["quantized"]),
}


def hours(found: dict[str, float]) -> dict[str, float]:
    return {name: value * 3600 if name.endswith("hours") else value for name, value in found.items()}


def test_without_a_gpu_a_job_is_one_piece_on_a_core():
    found = hours(predict(schedule(JOBS, Costs(), gpu=False), 1, 0))
    assert found["wall_hours"] == pytest.approx(3 * 1 + 2 * 13)
    assert (found["core_hours"], found["gpu_hours"]) == (pytest.approx(29), 0)
    assert hours(predict(schedule(JOBS, Costs(), gpu=False), 2, 0))["wall_hours"] == pytest.approx(3 + 13)


def test_a_gpu_runs_one_network_while_a_core_reads_for_the_next():
    found = hours(predict(schedule(JOBS, Costs(), gpu=True), 1, 1))
    assert found["wall_hours"] == pytest.approx(1 + 3 + 3 + 2 + 2)  # the first network runs while the second job reads
    assert (found["core_hours"], found["gpu_hours"]) == (pytest.approx(9), pytest.approx(4))
    assert found["longest_chain_hours"] == pytest.approx(1 + 3 + 2 + 1 + 1)


def test_planted_costs_are_found_again():
    sizes = pd.DataFrame({"model": list("abcd"), "gmacs": [0.5, 1.0, 2.0, 4.0], "parameters": [1.0, 3.0, 2.0, 8.0]})

    def table(rule: str, seconds: pd.Series, method: str | None = None, networks: int = 1) -> pd.DataFrame:
        return sizes.assign(rule=rule, seconds=seconds, method=method, networks=networks)

    def evaluation(networks: int) -> pd.Series:
        return 6 + 2000 * networks * (0.005 + 0.02 * sizes.gmacs)

    measured = pd.concat(
        [
            table("evaluate_fp32", evaluation(1)),
            table("evaluate", evaluation(2), "qhyvit", networks=2),
            table("calibrate", 5 + 2 * sizes.gmacs),
            table("recalibrate", 4 + 3 * sizes.gmacs),
            table("challenges", 1 + sizes.parameters),
            table("quantize_baseline", 2 + 0.5 * sizes.parameters, "percentile"),
            table("reconstruct", 3 + 4 * sizes.parameters, "qhyvit"),
        ]
    )
    fit = fit_cpu(measured)
    assert fit["predict"][0] == pytest.approx(6)
    assert image_seconds(fit, 3.0) == pytest.approx(0.065)
    assert fit["calibrate"] == pytest.approx([5, 2])
    assert fit["percentile"] == pytest.approx([2, 0.5])
    assert fit["qhyvit"] == pytest.approx([3, 4])


def test_throughput_on_the_gpu_is_a_line_through_four_networks():
    sizes = pd.DataFrame({"gmacs": [0.4, 1.3, 7.2, 10.1]}, ["mobilevit_xxs", "efficientformer_l1", "mobilevitv2_200", "efficientformer_l7"])
    constant, factor = fit_gpu(sizes)
    measured = 1 / np.array([2222, 2461, 700, 604])  # batches of 64, simulated W8A8
    assert constant + factor * sizes.gmacs.to_numpy() == pytest.approx(measured, rel=0.2)
    assert constant > 0
    assert factor > 0
