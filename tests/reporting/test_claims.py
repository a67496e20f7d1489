"""Verdicts on the paper's claims follow from the reports; committed ones follow from the committed reports."""

import io
from pathlib import Path

import pandas as pd
import pytest
from conftest import REPOSITORY

from qhyvit.cli import claims as command
from qhyvit.cli import run
from qhyvit.errors import InputError
from qhyvit.reporting.claims import CAPTION, claims_table, compare, read_claims
from qhyvit.reporting.write import write_table
from workflow.scripts.quotes import committed

RESULTS = """model,method,w_bits,a_bits,drop,drop_low,drop_high
one,ours,8,8,{first},0.1,{high}
two,ours,8,8,0.4,0.3,0.5
"""
CLAIMS = """
- name: little-loss
  says: it loses less than {published}
  published: published.csv drop
  values:
    mean: reports/all/results.csv drop mean method=ours
    first: reports/all/results.csv drop interval model=one
  verdicts:
    holds: mean < published and first_high < 1
    holds in part: mean < published
    not reproduced:
  command: make reproduce
  minutes: minutes.csv minutes sum
  tolerance: 0.25
- name: elsewhere
  says: it holds elsewhere
  values: {}
  verdicts: {cannot be tested here: }
  command: make reproduce
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Write the claims, the published number and the reports of a run, and change to their folder; return what writes them."""

    def write(first=0.2, high=0.3, run="reports/all", claims=CLAIMS):
        Path(run).mkdir(parents=True, exist_ok=True)
        Path(run, "results.csv").write_text(RESULTS.format(first=first, high=high))
        Path("claims.yaml").write_text(claims)

    monkeypatch.chdir(tmp_path)
    Path("published.csv").write_text("drop\n1\n")
    Path("minutes.csv").write_text("rule,minutes\nquantize,10.25\nevaluate,31\n")
    return write


@pytest.mark.parametrize(("first", "high", "verdict"), [(0.2, 0.3, "holds"), (0.2, 1.3, "holds in part"), (1.6, 0.3, "not reproduced")])
def test_verdict_is_the_first_whose_condition_is_true(folder, first, high, verdict):
    folder(first, high)
    rows = claims_table(read_claims(Path("claims.yaml")), pd.read_csv).rows
    assert rows.verdict.tolist() == [verdict, "cannot be tested here"]
    assert rows["the paper says"][0] == "it loses less than 1.00"
    assert rows["here"].tolist() == [f"mean {(first + 0.4) / 2:.2f}, first {first:.2f} [0.10, {high:.2f}]", ""]


@pytest.mark.parametrize(("first", "mean"), [(0.5, 0.45), (-0.1, 0.15)], ids=["above", "below"])
def test_values_of_another_run_are_held_to_the_tolerance(folder, first, mean):
    folder()
    folder(first=first, run="again/nested")
    rows = compare(read_claims(Path("claims.yaml")), pd.read_csv, Path("again/nested"))
    assert rows[["claim", "value"]].to_numpy().tolist() == [["little-loss", "mean"], ["little-loss", "first"]]
    assert rows.committed.tolist() == pytest.approx([0.3, 0.2])
    assert rows.again.tolist() == pytest.approx([mean, first])
    assert rows.passed.tolist() == [True, False]


@pytest.mark.parametrize(("first", "code"), [(0.4, 0), (0.6, 1)])
def test_exit_code_tells_if_all_values_are_near(folder, monkeypatch, capsys, first, code):
    folder()
    folder(first=first, run="again")
    monkeypatch.setattr("sys.argv", ["qhyvit", "claims", "--file", "claims.yaml", "--verify", "again"])
    with pytest.raises(SystemExit) as end:
        run()
    assert end.value.code == code
    assert ("no" in capsys.readouterr().out.split()) == bool(code)


def test_claim_states_its_tolerance_its_time_and_its_file(folder):
    folder()
    table = claims_table(read_claims(Path("claims.yaml")), pd.read_csv)
    columns = ["tolerance", "core-minutes", "file", "command"]
    assert table.rows[columns].to_numpy().tolist() == [
        ["0.25", "41", "reports/all/results.csv", "make reproduce"],
        ["", "", "", "make reproduce"],
    ]
    assert table.shown.file.tolist() == ["`reports/all/results.csv`", ""]


def test_files_are_written_next_to_each_other(folder):
    folder()
    command.claims(Path("claims.yaml"), Path("written"))
    assert pd.read_csv("written.csv").verdict[0] == "holds"
    assert "| holds " in Path("written.md").read_text()
    assert "holds" in Path("written.tex").read_text()


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("mean method=ours", "mean method=theirs", "no rows"),
        ("drop interval model=one", "drop interval model=three", "0 rows"),
        ("results.csv drop mean", "results.csv absent mean", "absent"),
        ("holds: mean < published", "holds: median < published", "median"),
        ("holds: mean < published", "holds: mean <", "condition"),
        ("    not reproduced:\n", "", "no verdict"),
        ("holds in part:", "mostly:", "claims.yaml"),
        ("- name: elsewhere", "- name: [", "claims.yaml"),
        ("    holds in part: mean < published", "    holds in part: mean.tofile", "claim little-loss: condition 'mean.tofile'"),
        ("less than {published}", "less than {other}", "claim little-loss: says: "),
        ("less than {published}", "less than {0}", "claim little-loss: says: "),
        ("less than {published}", "less than {", "claim little-loss: says: "),
        ("elsewhere\n  values", "elsewhere {published}\n  values", "claim elsewhere: says: "),
        ("reports/all/results.csv drop mean", "absent.csv drop mean", "claim little-loss: absent.csv: "),
        ("mean method=ours", "mean =ours", "claim little-loss: reports/all/results.csv: "),
        ("results.csv drop mean", "results.csv method mean", "claim little-loss: reports/all/results.csv: "),
        ("minutes.csv minutes", "absent.csv minutes", "claim little-loss: absent.csv: "),
    ],
)
def test_claim_without_an_answer_is_refused_by_its_file(folder, old, new, part):
    claims = CLAIMS.replace(old, new)
    assert claims != CLAIMS
    folder(first=1.6, claims=claims)
    with pytest.raises(InputError, match=part) as error:
        command.claims(Path("claims.yaml"), Path("written"))
    assert str(error.value).startswith("claims.yaml: ")
    assert not list(Path().glob("written*"))


def test_values_that_cannot_be_measured_again_name_the_claims_file(folder):
    folder()
    with pytest.raises(InputError, match=r"claims\.yaml: claim little-loss: again/results\.csv: "):
        command.claims(Path("claims.yaml"), verify=Path("again"))


def test_claims_in_another_encoding_are_refused_by_name(folder):
    folder()
    Path("claims.yaml").write_bytes(CLAIMS.replace("loses", "verliert \u00fcberall").encode("latin-1"))
    with pytest.raises(InputError, match=r"claims\.yaml: not UTF-8"):
        read_claims(Path("claims.yaml"))


def test_committed_claims_follow_from_the_committed_reports(tmp_path):
    claims = read_claims(REPOSITORY / "resources/claims.yaml")
    table = claims_table(claims, lambda path: pd.read_csv(io.StringIO(committed(path))))
    write_table(table, tmp_path / "claims", ("csv", "md", "tex"), CAPTION.format(file="resources/claims.yaml"))
    for suffix in ("csv", "md", "tex"):
        assert (tmp_path / f"claims.{suffix}").read_text() == committed(f"reports/claims.{suffix}"), "qhyvit claims && git add reports"


def test_caption_names_the_file_of_the_claims(folder):
    folder()
    command.claims(Path("claims.yaml"), Path("table"))
    assert "whose condition in `claims.yaml` is true" in Path("table.md").read_text()


def test_names_of_claims_differ():
    names = [claim.name for claim in read_claims(REPOSITORY / "resources/claims.yaml")]
    assert len(names) == len(set(names))


def test_cheap_claims_are_of_what_the_quick_experiment_runs():
    queries = [query for claim in read_claims(REPOSITORY / "resources/claims.yaml") if claim.tolerance for query in claim.values.values()]
    assert queries
    assert all(query.startswith(("reports/ablation/tables/table_ii.csv ", "reports/ablation/tables/paired.csv ")) for query in queries)
    assert all("method=qhyvit " in f"{query} " and ("baseline=" not in query or "baseline=repqvit " in query) for query in queries)
