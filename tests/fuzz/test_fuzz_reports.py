"""Tables and results that commands compare, gather and show, with changed cells."""

import contextlib
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st
from mutations import fuzz, listed, mutated_bytes, mutated_text, mutated_tree, require_line, result_or_refusal

from qhyvit.cli import main
from qhyvit.cli.diff import _table
from qhyvit.models.recorded_weights import read_pins
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.aggregate import aggregate
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.diff import changes
from qhyvit.reporting.published import read_cells
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.reproduction import agreement
from qhyvit.reporting.revisions import committed_runs, present_runs
from qhyvit.reporting.sources import Sources

REPORTS, GATHERED, MANIFEST, CONFIG = Path("reports"), Path("gathered"), Path("images.csv"), Path("config.yaml")
RUN = {"dataset": "tiny", "model": "net", "family": "F", "method": "fp32", "mode": "", "w_bits": 32, "a_bits": 32, "seed": 0}
RUN |= {"images": 20, "top1": 75.0, "correct": "1" * 15 + "0" * 5}
RUNS = {
    "fp32": RUN,
    "minmax": RUN
    | {"method": "minmax", "mode": "partial", "w_bits": 4, "a_bits": 4, "top1": 70.0, "correct": "1" * 14 + "0" * 6, "kl": 0.5},
    "qhyvit": RUN | {"method": "qhyvit", "mode": "partial", "w_bits": 4, "a_bits": 4, "top1": 50.0, "correct": "01" * 10, "kl": 0.25},
}


@pytest.fixture(scope="module")
def texts(scratch):
    """A git checkout with the results of three runs, and the text of each file in it."""
    rows = [f"{split},{i}.png,{i % 2},a{i},," for split in ("calibration", "evaluation") for i in range(20)]
    MANIFEST.write_text("\n".join(["split,filename,label,pixels_sha256,offset,size", *rows]))
    write_runs(RUNS)
    gather(REPORTS)
    CONFIG.write_text((REPOSITORY / "config/config.yaml").read_text())
    (scratch / "config").symlink_to(REPOSITORY / "config")
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    for command in (["init", "--quiet"], ["add", "reports"], [*author, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", *command], check=True)
    return {path.name: path.read_text() for path in (*REPORTS.iterdir(), MANIFEST)}


def write_runs(runs):
    for name, run in runs.items():
        Path(f"{name}.json").write_text(json.dumps(run))


def gather(output):
    aggregate([Path(f"{name}.json") for name in RUNS], MANIFEST, read_catalog(METHODS_FILE), output)
    return True


@st.composite
def mutated_table(draw: st.DrawFn, text: str) -> bytes:
    return draw(mutated_bytes(text.encode()) | mutated_text(text).map(lambda changed: changed.encode("utf-8", "replace")))


@fuzz(0.3)
@given(data=st.data())
def test_results_are_compared_or_refused(texts, data):
    name = data.draw(st.sampled_from(["results.csv", "results.csv", "correct.csv"]))
    (REPORTS / name).write_bytes(data.draw(mutated_table(texts[name])))
    before = committed()
    after = result_or_refusal(partial(present_runs, REPORTS), "results.csv", "correct.csv")
    (REPORTS / name).write_text(texts[name])
    for pair in [(before, after), (after, before)] if after is not None else []:
        _table(result_or_refusal(partial(changes, *pair)), "changes")
        result_or_refusal(partial(agreement, *pair))


def committed(cache={}):  # noqa: B006
    """Return the committed runs, which git shows once."""
    if not cache:
        cache["runs"] = committed_runs(REPORTS, "HEAD")
    return cache["runs"]


@fuzz(0.01)
@given(data=st.data())
def test_diff_of_changed_results_is_shown_or_refused_in_one_line(texts, data):
    name = data.draw(st.sampled_from(["results.csv", "correct.csv"]))
    (REPORTS / name).write_bytes(data.draw(mutated_table(texts[name])))
    said, shown = Path("said"), Path("shown")
    with (
        said.open("w") as err,
        shown.open("w") as out,
        contextlib.redirect_stderr(err),
        contextlib.redirect_stdout(out),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", ["qhyvit", "diff", "--config", str(CONFIG)])
        with pytest.raises(SystemExit) as end:
            main()
    (REPORTS / name).write_text(texts[name])
    assert end.value.code in (0, 1, 2, None)
    if end.value.code == 2:
        require_line(said.read_text().removesuffix("\n"), "results.csv", "correct.csv")


@fuzz(0.6)
@given(data=st.data())
def test_results_of_runs_are_gathered_or_refused(texts, data):
    name = data.draw(st.sampled_from(list(RUNS)))
    text = json.dumps(RUNS[name])
    content = data.draw(mutated_tree(RUNS[name]).map(json.dumps) | mutated_bytes(text.encode()))
    write_runs(RUNS)
    Path(f"{name}.json").write_bytes(content.encode() if isinstance(content, str) else content)
    done = result_or_refusal(partial(gather, GATHERED), ".json", "on tiny", "fp32")
    assert listed(GATHERED) in ([], ["correct.csv", "metrics.json", "results.csv"])
    for path in GATHERED.glob("*") if done else ():
        path.unlink()


@fuzz(0.05)
@given(data=st.data())
def test_tables_of_results_are_made_or_refused(texts, data):
    name = data.draw(st.sampled_from(["results.csv", "correct.csv"]))
    paths = {kind: [Path("table", f"{kind}.csv")] for kind in ("results", "correct")}
    Path("table").mkdir(exist_ok=True)
    for kind, (path,) in paths.items():
        path.write_bytes(data.draw(mutated_table(texts[name])) if path.name == name else texts[f"{kind}.csv"].encode())
    for entry in (TABLES["accuracy"], TABLES["paired"]):
        result_or_refusal(lambda entry=entry: entry.make(Sources(read_catalog(METHODS_FILE), paths)), "results.csv", "correct.csv")


@fuzz(0.3)
@given(data=st.data())
def test_published_numbers_are_read_or_refused(texts, data):
    Path("published.csv").write_bytes(data.draw(mutated_table((REPOSITORY / "resources/published/hyq.csv").read_text())))
    result_or_refusal(partial(read_cells, Path("published.csv")), "published.csv")


@fuzz(0.3)
@given(content=mutated_bytes(b"a.safetensors: ab\nb.safetensors: cd\n"))
def test_pins_of_weights_are_read_or_refused(texts, content):
    Path("lock.yaml").write_bytes(content)
    pins = result_or_refusal(partial(read_pins, Path("lock.yaml")), "lock.yaml")
    assert all(isinstance(value, str) for value in (pins or {}).values())
