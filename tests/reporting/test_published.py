import re

import numpy as np
import pandas as pd
import pytest
from conftest import REPOSITORY

from qhyvit.config.experiment import Experiment
from qhyvit.config.loading import Config, read_yaml
from qhyvit.config.models import MODELS
from qhyvit.errors import InputError
from qhyvit.presets import METHODS_FILE
from qhyvit.reporting.averaged import averaged
from qhyvit.reporting.catalog import read_catalog
from qhyvit.reporting.correctness import COLUMNS as CORRECT_COLUMNS
from qhyvit.reporting.correctness import encode
from qhyvit.reporting.published import read_accuracies, read_cells, read_means, under_our_names
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.runs import COLUMNS
from qhyvit.reporting.sources import Sources
from qhyvit.reporting.tables.comparison import compare, comparison_shown
from qhyvit.reporting.tables.improvement import improvement, improvement_shown
from qhyvit.reporting.write import NO_ROWS, write_table

CATALOG = read_catalog(METHODS_FILE)
PAPER = REPOSITORY / "resources/published"
ACCURACIES = ("table_ii", "table_iii", "table_iv", "hyq")
COMPARED = ("table_ii", "table_iii", "table_iv")


def published(name):
    return read_cells(PAPER / f"{name}.csv", PAPER / "table_ii.csv" if name == "table_iv" else None)


def experiment(**dataset):
    stated = {"name": "any", "classes": 10, "calibration": "train", "evaluation": "val"} | dataset
    return Config(experiment=Experiment(dataset=stated, weights="{model}", models=["a"]), models={}, methods={})


def made(name, results, folder, dataset=None):
    """A table made from results.csv and the published ones, with its files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    results.to_csv(folder / "results.csv", index=False)
    correct_of(results).to_csv(folder / "correct.csv", index=False)
    paths = {kind: [folder / f"{kind}.csv"] for kind in ("results", "correct")}
    paths |= {f"published/{path.stem}": [path] for path in PAPER.glob("*.csv")}
    table = TABLES[name].make(Sources(CATALOG, paths, config=experiment(**dataset or {})))
    write_table(table, folder / name, TABLES[name].formats, TABLES[name].caption)
    return table


def run(model, method, top1, fp32=80.0, *, dataset="cifar10", mode="partial", bits=8, seed=0):
    """A row of results.csv whose interval is one point to both sides."""
    drop = fp32 - top1
    settings = {"dataset": dataset, "model": model, "family": "F", "method": method, "mode": mode, "w_bits": bits, "a_bits": bits}
    accuracies = {"top1": top1, "top1_fp32": fp32, "drop": drop, "drop_low": drop - 1, "drop_high": drop + 1}
    return settings | {"seed": seed, "images": 100} | accuracies


def results(*runs):
    fp32 = {(each["dataset"], each["model"]): each["top1_fp32"] for each in runs}
    references = [
        {
            "dataset": dataset,
            "model": model,
            "method": "fp32",
            "mode": "",
            "w_bits": 32,
            "a_bits": 32,
            "seed": 0,
            "images": 100,
            "top1": top1,
        }
        for (dataset, model), top1 in fp32.items()
    ]
    return pd.DataFrame([*references, *runs], columns=COLUMNS)


def correct_of(results):
    """A row of correct.csv for each run: of its 100 images the first ones are right."""
    correct = [encode(np.arange(100) < round(top1)) for top1 in results.top1]
    return results.assign(images=100, images_hash="same", correct=correct)[CORRECT_COLUMNS]


def cells_of_tables():
    return pd.concat([published("table_ii"), published("table_iii")])


# The published numbers themselves


@pytest.mark.parametrize("name", ACCURACIES)
def test_cells_name_known_models_and_methods(name):
    cells = read_accuracies(PAPER / f"{name}.csv")
    assert set(cells.model) <= read_yaml(REPOSITORY / "config/models.yaml", MODELS).keys()
    assert set(cells.method) <= {"fp32", *CATALOG.published_as.values()}
    assert (cells["mode"].isna() == (cells.method == "fp32")).all()
    assert ((cells.w_bits == 32) == (cells.method == "fp32")).all()


def test_table_ii_has_eight_networks_and_fp32_of_their_papers():
    cells = read_accuracies(PAPER / "table_ii.csv")
    fp32 = cells[cells.method == "fp32"].set_index("model").top1
    models = read_yaml(REPOSITORY / "config/models.yaml", MODELS)
    assert fp32.to_dict() == {name: models[name].published.top1 for name in fp32.index}
    assert cells[cells.method == "qhyvit"].groupby("w_bits").model.nunique().to_dict() == {6: 8, 8: 8}
    assert len(fp32) == 8


def test_only_the_known_cell_lies_above_fp32():
    cells = pd.concat([published(name) for name in ACCURACIES])
    above = cells[cells["drop"] < 0]
    assert above[["model", "method", "top1", "top1_fp32"]].to_numpy().tolist() == [["efficientformer_l1", "repqvit", 80.36, 80.2]]


def test_the_ablation_ends_with_the_cell_of_table_ii():
    ablation = published("table_iv").set_index("method")
    assert ablation.top1.to_dict() == {"qhyvit-scale": 44.37, "qhyvit-granularity": 59.50, "qhyvit": 68.20}
    assert ablation.loc["qhyvit", "drop"] == pytest.approx(0.80)
    table_ii = published("table_ii").query("model == 'mobilevit_xxs' and method == 'qhyvit' and w_bits == 8")
    assert table_ii.top1.item() == ablation.top1["qhyvit"]


def test_hyq_quotes_the_cells_of_table_iii():
    of_qhyvit = [published(name).query("method == 'qhyvit'").set_index("model").top1 for name in ("hyq", "table_iii")]
    pd.testing.assert_series_equal(*(cells.sort_index() for cells in of_qhyvit))


@pytest.mark.parametrize(("bits", "abstract_v2", "abstract_v3"), [(8, 8.32, 17.73), (6, 26.02, 29.75)])
def test_headlines_are_plain_means_over_baselines(bits, abstract_v2, abstract_v3):
    value = read_means(PAPER / "improvements.csv").query("w_bits == @bits and mode == 'partial'").set_index("method").value
    of_two, of_three = "easyquant+ptq4vit", "easyquant+ptq4vit+repqvit"
    assert (value[of_two], value[of_three]) == (abstract_v2, abstract_v3)
    assert value[of_two.split("+")].mean() == pytest.approx(abstract_v2, abs=0.0051)
    assert value[of_three.split("+")].mean() == pytest.approx(abstract_v3, abs=0.0051)


def test_calibration_takes_seconds():
    assert read_means(PAPER / "fig_9.csv").set_index("method").value.to_dict() == {"qhyvit": 523, "repqvit": 159}


HEADER = "model,method,mode,w_bits,a_bits,top1,source,trust\n"
CELL = "mobilevit_xxs,qhyvit,partial,8,8,68.2,readme,high\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + CELL + CELL.replace("68.2", "682"), "line 3: top1: Input should be less than or equal to 100"),
        (HEADER + CELL.replace("readme", "hearsay"), "line 2: source: Input should be"),
        (HEADER + CELL.replace("68.2", ""), "line 2: top1: Input should be a valid number"),
        (HEADER.replace("top1", "top5") + CELL, "line 2: top1: Field required"),
        (HEADER + CELL + CELL.replace("68.2", "67.2"), "line 3: this cell is there twice"),
        (HEADER + CELL + "," + CELL, "not CSV"),
        ("", "not CSV"),
        (None, "cannot be read (No such file or directory)"),
    ],
)
def test_fault_of_a_file_is_one_line(tmp_path, text, message):
    path = tmp_path / "table.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError) as error:
        read_accuracies(path)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


# Ours next to them


def test_comparison_on_imagenet_worked_by_hand():
    ours = results(
        run("mobilevit_xxs", "qhyvit", 66.0, 68.0, dataset="imagenet", seed=0),
        run("mobilevit_xxs", "qhyvit", 67.0, 68.0, dataset="imagenet", seed=1),
        run("mobilevit_xs", "qhyvit", 70.0, 74.0, dataset="imagenet"),
    )
    rows = compare(averaged(ours, correct_of(ours)), published("table_ii"), same_images=True)
    assert rows.model.tolist() == ["mobilevit_xs", "mobilevit_xxs"]
    xs, xxs = rows.to_dict("records")
    assert pd.isna([xs["paper_top1"], xs["top1_difference"], xs["drop_difference"]]).all()
    assert (xs["drop_low"], xs["drop_high"]) == (3, 5)
    assert (xxs["top1"], xxs["drop"]) == (66.5, 1.5)  # means of two seeds
    assert xxs["drop_high"] - 1.5 == pytest.approx(1.5 - xxs["drop_low"])
    assert xxs["drop_high"] > 2.5  # an end is no mean of ends
    assert (xxs["paper_fp32"], xxs["paper_top1"], xxs["source"], xxs["trust"]) == (69.0, 68.2, "readme", "high")
    assert xxs["paper_drop"] == pytest.approx(0.8)
    assert xxs["top1_difference"] == pytest.approx(-1.7)
    assert xxs["drop_difference"] == pytest.approx(0.7)
    shown = comparison_shown(rows).iloc[1].tolist()
    assert shown[1:] == [
        "mobilevit_xxs",
        "qhyvit",
        "W8A8",
        "68.00",
        "66.50",
        f"1.50 [{xxs['drop_low']:.2f}, {xxs['drop_high']:.2f}]",
        "69.00",
        "68.20",
        "0.80",
        "-1.70",
        "0.70",
    ]


def test_note_counts_published_counterparts(tmp_path):
    ours = results(run("mobilevit_xxs", "qhyvit", 66.0), run("mobilevit_xs", "qhyvit", 70.0))
    assert made("table_ii", ours, tmp_path).note.startswith(
        "1 of these 2 cells have a published counterpart. This run has 100 evaluation images and one seed."
    )


@pytest.mark.parametrize(
    ("dataset", "images"),
    [
        ({"name": "cifar10"}, 2000),
        ({"name": "imagenet-mini", "classes": 1000}, 800),
        ({"name": "imagenet-5000", "layout": "imagenet", "classes": 1000, "subset": {"evaluation": 5}}, 5000),
        ({"name": "imagenet", "layout": "imagenet", "classes": 1000}, 49_999),
    ],
)
def test_on_other_images_nothing_is_subtracted_and_the_note_says_so(dataset, images, tmp_path):
    ours = results(run("mobilevit_xxs", "qhyvit", 66.5, 68.0, dataset=dataset["name"])).assign(images=images)
    table = made("table_ii", ours, tmp_path, dataset)
    assert table.rows.paper_drop.tolist() == pytest.approx([0.8])
    assert table.rows[["top1_difference", "drop_difference"]].isna().all(axis=None)
    assert f"These {images:,} images are not ImageNet's whole validation set of 50,000: nothing is subtracted." in table.note


def test_on_imagenets_whole_validation_set_the_papers_cells_are_subtracted_whatever_its_name(tmp_path):
    ours = results(run("mobilevit_xxs", "qhyvit", 66.5, 68.0, dataset="mine")).assign(images=50_000)
    table = made("table_ii", ours, tmp_path, {"name": "mine", "layout": "imagenet", "classes": 1000})
    assert table.rows.top1_difference.tolist() == pytest.approx([-1.7])
    assert table.note == "1 of these 1 cells have a published counterpart. This run has 50,000 evaluation images and one seed."


def test_published_cells_stand_next_to_the_method_that_claims_them():
    cells = pd.DataFrame({"method": ["qhyvit", "qhyvit-scale", "nobody"], "top1": [1.0, 2.0, 3.0]})
    claims = {"ours": "qhyvit", "again": "qhyvit", "qhyvit": "qhyvit-scale"}
    renamed = under_our_names(cells, claims)
    assert sorted(zip(renamed.method, renamed.top1, strict=True)) == [("again", 1.0), ("ours", 1.0), ("qhyvit", 2.0)]


def test_cross_validated_method_has_no_published_cell(tmp_path):
    ours = results(run("mobilevit_xxs", "qhyvit", 70.0), run("mobilevit_xxs", "qhyvit-cv", 71.0))
    rows = made("table_ii", ours, tmp_path).rows.set_index("method")
    assert rows.paper_top1["qhyvit"] == 68.2
    assert pd.isna(rows.paper_top1["qhyvit-cv"])


def test_each_table_has_its_mode_bits_and_methods(tmp_path):
    ours = results(
        *(run("mobilevit_xxs", "qhyvit", 79.0, bits=bits) for bits in (8, 6, 4)),
        run("mobilevit_xxs", "qhyvit", 78.0, mode="full"),
        run("mobilevit_xxs", "qhyvit", 77.0, mode="full", bits=6),
        run("mobilevit_xxs", "minmax", 76.0),
        run("mobilevit_xxs", "qhyvit-scale", 75.0),
        run("mobilevit_xxs", "minmax", 74.0) | {"a_bits": 6},
    )
    rows = {name: made(name, ours, tmp_path).rows for name in COMPARED}
    assert {name: list(zip(table.method, table.w_bits, table.paper_top1.fillna(0), strict=True)) for name, table in rows.items()} == {
        "table_ii": [("minmax", 8, 0), ("qhyvit", 8, 68.20), ("qhyvit", 6, 66.33)],
        "table_iii": [("qhyvit", 8, 67.20), ("qhyvit", 6, 0)],
        "table_iv": [("qhyvit-scale", 8, 44.37), ("qhyvit", 8, 68.20), ("qhyvit", 6, 0)],
    }


def test_cells_that_table_iii_lacks_are_those_of_hyq(tmp_path):
    ours = results(*(run("mobilevit_xxs", method, 66.0, 68.9, mode="full") for method in ("percentile", "fqvit", "hyq")))
    rows = made("table_iii", ours, tmp_path).rows.set_index("method")
    assert rows.paper_top1.to_dict() == {"percentile": 67.54, "fqvit": 0.1, "hyq": 68.15}
    assert rows.source.to_dict() == {"percentile": "hyq", "fqvit": "note", "hyq": "hyq"}
    assert rows.paper_drop["hyq"] == pytest.approx(68.94 - 68.15)


OURS = results(
    run("a", "minmax", 75.0),
    run("a", "qhyvit", 79.0),
    run("b", "minmax", 69.9),  # 10.1 points below FP32
    run("b", "qhyvit", 77.9),
    run("c", "minmax", 70.0),  # 10.0 points
    run("c", "qhyvit", 76.0),
    run("d", "minmax", 10.0),  # without qhyvit there is nothing to compare
    run("a", "qhyvit-scale", 70.0),
)


def test_mean_improvement_with_and_without_collapsed():
    (row,) = improvement(OURS, cells_of_tables(), read_means(PAPER / "improvements.csv"), CATALOG).to_dict("records")
    assert (row["method"], row["baseline"], row["cells"], row["cells_without_collapsed"]) == ("qhyvit", "minmax", 3, 2)
    assert row["improvement"] == pytest.approx((4 + 8 + 6) / 3)
    assert row["improvement_without_collapsed"] == pytest.approx((4 + 6) / 2)
    assert pd.isna([row["paper_improvement"], row["paper_stated"]]).all()


def test_papers_improvement_is_over_its_known_cells():
    ours = results(*(run("a", method, 70.0) for method in ("qhyvit", "ptq4vit", "repqvit", "fqvit")))
    rows = improvement(ours, cells_of_tables(), read_means(PAPER / "improvements.csv"), CATALOG).set_index("baseline")
    over_ptq4vit = [30.45, 9.73, 26.61, 3.51, 0.16, 0.04, 6.29, 0.34]  # xxs, s, 100, 26M, 508M, L1, S0, L
    assert rows.paper_improvement["ptq4vit"] == pytest.approx(sum(over_ptq4vit) / 8)
    standing = [3.51, 0.16, 0.04, 6.29, 0.34]  # the first three drop by 31.25, 10.21 and 27.08
    assert rows.paper_improvement_without_collapsed["ptq4vit"] == pytest.approx(sum(standing) / 5)
    assert rows.paper_improvement_without_collapsed["repqvit"] == pytest.approx((-0.21 + 6.08) / 2)  # L1 and L
    assert rows.paper_cells["repqvit"] == 8
    assert rows.paper_stated[["ptq4vit", "repqvit"]].tolist() == [7.09, 36.56]
    assert pd.isna(rows.paper_improvement["fqvit"])  # Table III is another mode


def test_headline_is_the_mean_over_three_baselines():
    tops = {"qhyvit": 79.0, "easyquant": 77.0, "ptq4vit": 78.0, "repqvit": 40.0, "minmax": 1.0}
    ours = results(*(run(model, method, top1) for model in "ab" for method, top1 in tops.items()))
    stated = read_means(PAPER / "improvements.csv")
    shown = improvement_shown(improvement(ours, cells_of_tables(), stated, CATALOG)).set_index("baseline")
    assert shown.index.tolist() == ["minmax", "easyquant", "ptq4vit", "repqvit", "easyquant+ptq4vit+repqvit"]
    headline = shown.loc["easyquant+ptq4vit+repqvit"]
    assert headline["ours"] == "14.00 (6)"  # (2 + 1 + 39) / 3
    assert headline["ours, without collapsed"] == "1.50 (4)"
    assert headline["paper, stated"] == "17.73"
    assert shown.loc["repqvit", "ours, without collapsed"] == ""
    without_one = ours[ours.method != "easyquant"]
    assert "easyquant+ptq4vit+repqvit" not in improvement(without_one, cells_of_tables(), stated, CATALOG).baseline.tolist()


def test_both_methods_of_the_headline_have_rows(tmp_path):
    """The paper's means stand next to its own method, and so does its statement."""
    ours = results(*(run("mobilevit_xxs", method, top1) for method, top1 in {"qhyvit": 79.0, "qhyvit-cv": 81.0, "ptq4vit": 78.0}.items()))
    table = made("improvement", ours, tmp_path)
    rows = table.rows.set_index(["method", "baseline"])
    assert rows.improvement.to_dict() == {("qhyvit", "ptq4vit"): 1, ("qhyvit-cv", "ptq4vit"): 3}
    assert rows.paper_stated["qhyvit", "ptq4vit"] == 7.09
    assert rows.loc[("qhyvit-cv", "ptq4vit"), ["paper_improvement", "paper_stated"]].isna().all()
    assert table.note == "This run has 100 evaluation images and one seed."
    without = made("improvement", ours[ours.method != "qhyvit"], tmp_path)
    assert without.note == f"This run has no `qhyvit`, the paper's method: gains are those of `qhyvit-cv`. {table.note}"


def test_table_has_three_forms_with_equal_bytes_each_time(tmp_path):
    ours = OURS.assign(model=OURS.model.replace("a", "mobilevit_xxs"))
    for folder in ("first", "second"):
        for name in (*COMPARED, "improvement"):
            made(name, ours, tmp_path / folder)
    written = {path.name: path.read_bytes() for path in (tmp_path / "first").iterdir()}
    forms = [f"{name}.{suffix}" for name in (*COMPARED, "improvement") for suffix in ("csv", "md", "tex")]
    assert sorted(written) == sorted([*forms, "results.csv", "correct.csv"])
    assert written == {path.name: path.read_bytes() for path in (tmp_path / "second").iterdir()}
    assert rb"mobilevit\_xxs & qhyvit & W8A8 & 80.00 & 79.00 & 1.00 [0.00, 2.00] & 69.00 & 68.20 & 0.80 &  &  \\" in written["table_ii.tex"]
    assert b"| mobilevit_xxs | qhyvit   | W8A8   |" in written["table_ii.md"]
    assert b"1 of these 7 cells have a published counterpart." in written["table_ii.md"]


def test_table_without_rows_has_its_header(tmp_path):
    made("table_iii", OURS, tmp_path)
    table = pd.read_csv(tmp_path / "table_iii.csv")
    assert table.empty
    assert {"model", "top1", "paper_top1", "drop_difference"} <= set(table.columns)
    assert re.match(r"\| *data set *\|", (tmp_path / "table_iii.md").read_text())
    assert NO_ROWS in (tmp_path / "table_iii.tex").read_text()


def test_results_of_fp32_alone_compare_with_nothing(tmp_path):
    fp32 = results(run("a", "qhyvit", 79.0)).query("method == 'fp32'")
    assert made("improvement", fp32, tmp_path).rows.empty
