"""Files of tables. In LaTeX their captions are text of TeX, not Markdown."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from qhyvit.errors import InputError
from qhyvit.reporting.registry import TABLES
from qhyvit.reporting.write import Table, write_table

SPECIAL = r"5 % of $ & # _ { } ~ ^ \ at the end"
CAPTION = f"{SPECIAL}, `method_a` and `b`: 1 < 2 > 0."
DOCUMENT = r"\documentclass{article}\usepackage{longtable,booktabs}\begin{document}\input{table}\end{document}"
ROWS = pd.DataFrame({"top-1 (%)": [SPECIAL]})


@pytest.fixture
def written(tmp_path):
    """Write a table with a caption as LaTeX, and return its text."""

    def write(caption):
        write_table(Table(ROWS, ROWS), tmp_path / "table", ["tex"], caption)
        return (tmp_path / "table.tex").read_text()

    return write


def captions_of(text):
    return [line.partition("{")[2] for line in text.splitlines() if line.startswith(r"\caption")]


def test_caption_is_escaped_as_pandas_escapes_cells(written):
    text = written(CAPTION)
    (cell,) = re.findall(r"^(5 .* end) \\\\$", text, re.MULTILINE)
    for caption in captions_of(text):
        shown, code = caption.split(", ", 1)
        assert re.sub(r"\{\}|\s", "", shown) == re.sub(r"\\space|\{\}|\s", "", cell)
        assert code.startswith(r"\texttt{method\_a} and \texttt{b}: 1 \textless{} 2 \textgreater{} 0.}")


@pytest.mark.parametrize("entry", [entry for entry in TABLES.values() if "tex" in entry.formats], ids=lambda entry: entry.name)
def test_caption_has_neither_comments_nor_markdown(written, entry):
    for caption in captions_of(written(entry.caption)):
        assert not re.search(r"(?<!\\)[%&#_$]|`", caption)
        assert caption.count(r"\texttt{") == entry.caption.count("`") / 2


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex in PATH")
def test_table_compiles(written, tmp_path):
    written(CAPTION)
    (tmp_path / "all.tex").write_text(DOCUMENT)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_output_without_a_name_is_refused():
    with pytest.raises(InputError, match=r"^--output \.: names no file; give a path without suffix, such as reports/accuracy$"):
        write_table(Table(ROWS, ROWS), Path(), ["csv"], CAPTION)
