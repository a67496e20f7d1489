"""Results of two revisions: changes, those beyond chance, and agreement with the committed results."""

import json
import shutil
import subprocess
import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from qhyvit.cli import main
from qhyvit.cli.reproduced import reproduced as command
from qhyvit.evaluation.statistics import Estimate, difference, holm, mcnemar, wilson_interval
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.aggregate import aggregate
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.correctness import correct_table, decode, encode, read_correct
from qhyvit.reporting.diff import changes, with_correct
from qhyvit.reporting.reproduction import agreement
from qhyvit.reporting.runs import read_results

FP32 = "1" * 90 + "0" * 10
GOOD = "1" * 85 + "0" * 15
BAD = "1" * 70 + "0" * 30
WORSE = {"top1": 70.0, "drop": 20.0, "drop_low": 12.0, "drop_high": 28.0}  # of BAD, with rounder ends of the interval


def conclude(root, runs, pixels="a"):
    """Write the results of FP32 and of ``runs``, {method: correct images}, to the folder reports of ``root``."""
    paths = []
    for method, correct in {"fp32": FP32, **runs}.items():
        bits = 32 if method == "fp32" else 4
        result = {
            **{"dataset": "tiny", "model": "net", "family": "F", "method": method, "mode": "" if method == "fp32" else "partial"},
            **{"w_bits": bits, "a_bits": bits, "seed": 0, "images": len(correct), "top1": 100 * correct.count("1") / len(correct)},
            "correct": correct,
        }
        paths.append(root / f"{method}.json")
        paths[-1].write_text(json.dumps(result))
    rows = [f"{split},{i}.png,{i % 2},{pixels}{i}" for split in ("calibration", "evaluation") for i in range(100)]
    (root / "images.csv").write_text("\n".join(["split,filename,label,pixels_sha256", *rows]))
    aggregate(paths, root / "images.csv", read_catalog(METHODS_FILE), root / "reports")


@pytest.fixture
def table(tmp_path):
    """Results with their correct images, as a revision has them."""

    def make(name, runs, pixels="a"):
        root = tmp_path / name
        root.mkdir()
        conclude(root, runs, pixels)
        return with_correct(read_results(root / "reports/results.csv"), read_correct(root / "reports/correct.csv"))

    return make


def test_mcnemar_is_the_share_of_as_uneven_outcomes():
    before = np.array([1] * 7 + [0] * 2 + [1] * 5 + [0] * 3, dtype=bool)  # 7 lost, 2 gained, 8 the same
    after = np.array([0] * 7 + [1] * 2 + [1] * 5 + [0] * 3, dtype=bool)
    outcomes = [abs(sum(signs)) for signs in product((-1, 1), repeat=9)]
    assert mcnemar(before, after) == pytest.approx(np.mean([uneven >= 5 for uneven in outcomes]))
    assert mcnemar(before, before) == 1


def test_holm_worked_by_hand():
    # In order: 4 x 0.005, 3 x 0.01, 2 x 0.03, and 1 x 0.04, which may not be less than the one before.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])).max() == 1


def test_difference_of_accuracies_in_a_published_example():
    # Newcombe, Statistics in Medicine 17 (1998) 873, Table II: 56 of 70 less 48 of 80 gives 0.0524 to 0.3339.
    accuracies = [(correct, images, wilson_interval(correct, images)) for correct, images in ((48, 80), (56, 70))]
    low, high, _ = difference(*(Estimate(100 * correct / images, *interval) for correct, images, interval in accuracies))
    assert (low, high) == pytest.approx((5.24, 33.39), abs=0.005)


def test_p_value_of_a_difference_is_of_the_normal_distribution():
    """Standard errors of 3 and 4 make one of 5, so 10 is two of them."""
    deviation = 1.959964
    before, after = Estimate(0, -3 * deviation, 3 * deviation), Estimate(10, 10 - 4 * deviation, 10 + 4 * deviation)
    low, high, p = difference(before, after)
    assert (low, high) == pytest.approx((10 - 5 * deviation, 10 + 5 * deviation))
    assert p == pytest.approx(0.0455, abs=5e-5)
    assert difference(after, before) == pytest.approx((-high, -low, p))
    assert difference(before, before)[2] == 1


def test_correct_images_as_hex_worked_by_hand():
    correct = np.array([1, 0, 1, 1, 0, 0, 0, 0, 1], dtype=bool)
    assert encode(correct) == "b080"
    assert decode("b080", 9).tolist() == correct.tolist()


def test_images_hash_is_of_evaluation_labels_and_pixels(tmp_path):
    def hashed(*rows):
        (tmp_path / "images.csv").write_text("\n".join(["split,filename,label,pixels_sha256", *rows]))
        images = sum(row.startswith("evaluation") for row in rows)
        run = {"dataset": "tiny", "model": "net", "mode": "", "method": "fp32", "w_bits": 32, "a_bits": 32, "seed": 0}
        results = [run | {"images": images, "correct": "1" * images}]
        return correct_table(results, tmp_path / "images.csv", read_catalog(METHODS_FILE)).images_hash.item()

    same = hashed("calibration,a.png,0,a", "evaluation,b.png,0,b", "evaluation,c.png,1,c")
    assert hashed("calibration,x.png,1,x", "evaluation,renamed.png,0,b", "evaluation,c.png,1,c") == same
    assert hashed("evaluation,c.png,1,c", "evaluation,b.png,0,b") != same
    assert hashed("evaluation,b.png,1,b", "evaluation,c.png,1,c") != same


def test_equal_results_have_no_changes(table):
    runs = {"minmax": GOOD, "qhyvit": FP32}
    assert changes(table("old", runs), table("new", runs)).empty


def test_a_run_that_lost_images_is_worse(table):
    (row,) = changes(table("old", {"minmax": GOOD}), table("new", {"minmax": BAD})).to_dict("records")
    assert (row["method"], row["old"], row["new"], row["change"]) == ("minmax", 85, 70, -15)
    assert row["p"] == pytest.approx(2 * 0.5**15)
    assert (row["low"], row["high"]) == pytest.approx((-15 - 1.96 * 3.57, -15 + 1.96 * 3.57), abs=1.1)  # sqrt(100 x 0.15 x 0.85)
    assert (row["by"], row["verdict"]) == ("image", "worse")
    (row,) = changes(table("bad", {"minmax": BAD}), table("good", {"minmax": GOOD})).to_dict("records")
    assert (row["change"], row["verdict"]) == (15, "better")


def test_pairs_tell_more_than_counts(table):
    """From 85 to 77 correct images: eight images lost and none gained is worse, though by the counts alone it could be chance."""
    eight_lost = "1" * 77 + "0" * 23
    shuffled = "0" * 20 + "1" * 77 + "0" * 3  # the same count, of which 20 are lost and 12 gained
    lost, shuffled_row = changes(table("old", {"a": GOOD, "b": GOOD}), table("new", {"a": eight_lost, "b": shuffled})).to_dict("records")
    assert (lost["method"], lost["verdict"]) == ("a", "worse")
    assert (shuffled_row["change"], shuffled_row["verdict"]) == (-8, "not significant")


def test_runs_that_differ_in_no_image_do_not_hide_another(table):
    """A hundred networks with other divergences and equal correct images, as by another processor, and one that lost eight images."""
    same = {f"m{i}": GOOD for i in range(100)}
    old, new = table("old", same | {"lost": GOOD}), table("new", same | {"lost": "1" * 77 + "0" * 23})
    rows = changes(old, new.assign(kl=0.5))
    assert len(rows) == 102  # FP32 too
    assert rows.p.dropna().tolist() == pytest.approx([2 * 0.5**8])
    assert (rows.method[0], rows.verdict[0]) == ("lost", "worse")


def test_noise_in_many_runs_is_not_significant(table):
    """Of 60 runs that lose and gain images by chance, some would be significant alone."""
    generator = np.random.default_rng(0)
    correct = generator.random((2, 60, 100)) < 0.8
    old, new = ({f"m{i}": "".join(str(int(image)) for image in run) for i, run in enumerate(runs)} for runs in correct)
    assert min(mcnemar(*pair) for pair in correct.swapaxes(0, 1)) < 0.05
    rows = changes(table("old", old), table("new", new))
    assert set(rows.verdict) == {"not significant"}
    assert len(rows) == 60


def test_runs_of_one_table_are_listed_and_none_is_worse(table):
    rows = changes(table("old", {"minmax": GOOD, "dropped": BAD}), table("new", {"minmax": GOOD, "added": BAD}))
    assert rows[["method", "verdict"]].to_numpy().tolist() == [["added", "new"], ["dropped", "gone"]]
    assert rows[["old", "new"]].to_numpy().tolist()[1][0] == 70
    assert rows.change.isna().all()


def without_images(results, **changed):
    """The table of a revision without correct images; ``changed`` values are those of minmax."""
    plain = with_correct(results.drop(columns=["images_hash", "correct"]), None)
    for name, value in changed.items():
        plain.loc[plain.method == "minmax", name] = value
    return plain


def test_without_images_the_intervals_of_drops_decide(table):
    good = without_images(table("old", {"minmax": GOOD}), drop_low=1.0, drop_high=10.0)
    (row,) = changes(good, without_images(good, **WORSE)).to_dict("records")
    assert row["by"] == "interval"
    # From a drop of 5 [1, 10] to 20 [12, 28]: 15 more, at most by sqrt(8^2 + 4^2), at least by sqrt(8^2 + 5^2) less.
    assert (row["low"], row["high"]) == pytest.approx((-15 - np.hypot(8, 4), -15 + np.hypot(8, 5)))
    assert row["verdict"] == "worse"
    slightly = {"top1": 82.0, "drop": 8.0, "drop_low": 3.0, "drop_high": 13.0}
    assert changes(good, without_images(good, **slightly)).verdict.tolist() == ["not significant"]


def test_with_another_fp32_the_intervals_of_accuracies_decide(table):
    good = without_images(table("old", {"minmax": GOOD}))
    (row,) = changes(good, without_images(good, top1=70.0, top1_fp32=75.0)).to_dict("records")
    low, high, _ = difference(Estimate(85, *wilson_interval(85, 100)), Estimate(70, *wilson_interval(70, 100)))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_other_images_are_not_paired(table):
    old, new = {"minmax": GOOD}, {"minmax": BAD}
    assert changes(table("old", old), table("new", new, pixels="b")).by.tolist() == ["interval"]


def test_images_of_another_result_are_not_used(table):
    old = table("old", {"minmax": GOOD})
    edited = old.drop(columns=["images_hash", "correct"])
    edited.loc[edited.method == "minmax", list(WORSE)] = list(WORSE.values())
    images = pd.DataFrame(old[["dataset", "model", "method", "mode", "w_bits", "a_bits", "seed", "images", "images_hash", "correct"]])
    (row,) = changes(old, with_correct(edited, images)).to_dict("records")
    assert (row["by"], row["verdict"]) == ("interval", "worse")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A git repository whose last two commits hold the same good results; the one before holds none."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    git("add", "config")
    git("commit", "--quiet", "-m", "configuration")
    for message in ("results", "no change"):
        conclude(tmp_path, {"minmax": GOOD, "qhyvit": FP32})
        git("add", "reports")
        git("commit", "--quiet", "--allow-empty", "-m", message)
    return tmp_path


def git(*arguments):
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments], check=True)


@pytest.fixture
def diff(repository, monkeypatch, capsys):
    """Run `qhyvit diff` and return its exit code and what it printed."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["qhyvit", "diff", "--config", "config/config.yaml", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code, printed.out + printed.err

    return run


@pytest.mark.parametrize("revision", [[], ["HEAD~1"]])
def test_unchanged_results_exit_0_and_say_so(diff, revision):
    code, printed = diff(*revision)
    assert code == 0
    assert "nothing changed" in printed


def test_a_regression_exits_1_and_is_shown(diff, repository):
    conclude(repository, {"minmax": BAD, "qhyvit": FP32})
    code, printed = diff("HEAD~1")
    assert code == 1
    (line,) = [line.split() for line in printed.splitlines() if "W4A4" in line]
    assert line[:7] == ["net", "minmax", "partial", "W4A4", "85.00", "70.00", "-15.00"]
    assert line[-2:] == ["image", "worse"]
    assert "1 worse, 0 better, 0 not significant, 0 new, 0 gone" in printed


def test_an_improvement_exits_0(diff, repository):
    conclude(repository, {"minmax": FP32, "qhyvit": FP32, "omse": BAD})
    code, printed = diff()
    assert code == 0
    assert "0 worse, 0 better, 1 not significant, 1 new, 0 gone" in printed  # five images gained: p = 1/16


def test_revision_without_images_is_compared_by_intervals(diff, repository):
    git("rm", "--quiet", "--cached", "reports/correct.csv")
    git("commit", "--quiet", "-m", "without correct images")
    assert diff()[0] == 0
    conclude(repository, {"minmax": BAD, "qhyvit": FP32})
    code, printed = diff()
    assert code == 1
    assert "by interval: the correct images are not known" in printed


@pytest.mark.parametrize(
    ("revision", "message"),
    [
        ("nonsense", "nonsense: no such commit here"),
        ("HEAD~99", "HEAD~99: no such commit here"),
        ("HEAD~2", "reports/results.csv: not there at HEAD~2"),
    ],
)
def test_bad_revisions_are_one_line_and_code_2(diff, revision, message):
    code, printed = diff(revision)
    assert code == 2
    (line,) = printed.strip().splitlines()
    assert message in line


def test_missing_results_are_one_line_and_code_2(diff, repository):
    (repository / "reports/results.csv").unlink()
    code, printed = diff()
    assert code == 2
    assert printed.strip().startswith("qhyvit: reports/results.csv: not there; restore it")
    (repository / "reports/results.csv").write_text("model,top1\n")
    code, printed = diff()
    assert code == 2
    assert "reports/results.csv: has no column dataset" in printed


def test_agreement_counts_outcomes_of_each_network(table):
    """Of minmax images are lost at one of two networks, of qhyvit one; hyq is gone, omse is new, and FP32 is not counted."""
    one_less = "1" * 84 + "0" * 16
    old = table("old", {"minmax": GOOD, "qhyvit": GOOD, "hyq": GOOD, "easyquant": GOOD})
    new = table("new", {"minmax": BAD, "qhyvit": one_less, "omse": GOOD, "easyquant": GOOD})
    other = old.assign(model="other")
    counts = agreement(pd.concat([old, other]), pd.concat([new, other]))
    assert counts.loc["net"].to_dict() == {"equal": 1, "within chance": 1, "beyond chance": 1, "new": 1, "missing": 1, "total": 5}
    assert counts.loc["other"].to_dict() == {"equal": 4, "within chance": 0, "beyond chance": 0, "new": 0, "missing": 0, "total": 4}


@pytest.fixture
def reproduced(repository, capsys):
    """Run `qhyvit reproduced` and return its output."""

    def run():
        command(repository / "config/config.yaml")
        return capsys.readouterr().out

    return run


def test_reproduced_run_is_told_from_one_that_differs(reproduced, repository):
    assert "2 of 2 quantized runs are equal." in reproduced()
    (repository / "reports/report.html").touch()
    assert reproduced().endswith("The report is reports/report.html.\n")
    conclude(repository, {"minmax": BAD, "qhyvit": FP32})
    printed = reproduced()
    (line,) = [line.split() for line in printed.splitlines() if line.strip().startswith("net ")]
    assert line == ["net", "1", "0", "1", "0", "0", "2"]
    assert "1 of 2 quantized runs are equal." in printed


def test_run_without_committed_results_is_shown_itself(reproduced, repository, monkeypatch):
    """Of 100 images FP32 gets 90 right, minmax 85 of these, and qhyvit the same as FP32."""
    git("rm", "--quiet", "--cached", "-r", "reports")
    git("commit", "--quiet", "-m", "without reports")
    said, table = reproduced().split("\n", 1)
    assert said == "reports/results.csv: not committed, so it is compared with nothing"
    minmax, qhyvit = (line.split() for line in table.splitlines() if line.strip().startswith("net "))
    assert minmax[:7] == ["net", "90.00", "partial", "minmax", "85.00", "(drop", "5.00"]
    assert qhyvit[:7] == ["net", "90.00", "partial", "qhyvit", "90.00", "(drop", "0.00"]
    assert qhyvit[7:] == ["[-2.95,", "2.95])"]  # 100 (1 - 0.05^(1/100))
    said = "no git checkout with a commit here, so there are no committed results to compare with ("
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", str(repository))
        assert reproduced() == f"{said}there is no program git in PATH)\n{table}"
    with monkeypatch.context() as of_another_user:
        of_another_user.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
        assert reproduced().startswith(f"{said}fatal: detected dubious ownership")
    shutil.rmtree(repository / ".git")
    assert reproduced().startswith(f"{said}fatal: not a git repository")


def test_run_without_results_is_one_line(reproduced, repository):
    (repository / "reports/results.csv").unlink()
    assert reproduced() == "reports/results.csv: not there, so there is nothing to compare with the committed results\n"
