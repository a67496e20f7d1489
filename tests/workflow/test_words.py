import subprocess

import pytest

from workflow.scripts.words import MAX_WORDS, docstring_faults, faults, sentences, word_faults


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("opening", ["What it does.", "Whether it is.", "How many.", "The same with more.", "That of a site.", "Those."])
def test_docstring_that_cannot_stand_alone_is_named(tmp_path, opening):
    module = written(tmp_path / "module.py", f'"""Fine."""\ndef function():\n    """{opening}"""\n')
    (fault,) = docstring_faults(module)
    assert "module.py:2" in fault


def test_docstring_that_stands_alone_is_accepted(tmp_path):
    module = written(tmp_path / "module.py", '"""Whatever stands alone."""\nclass A:\n    """Return what is asked for."""\n')
    assert not list(docstring_faults(module))


@pytest.mark.parametrize(("text", "count"), [("Mended it.", 1), ("recommend an amendment", 0), ("next to it, beside it\nbut for", 2)])
def test_forbidden_words_are_found_whole(tmp_path, text, count):
    assert len(list(word_faults(written(tmp_path / "page.md", text)))) == count


PAGE = """# Title without an end

First sentence with a [link of five words here](https://a.b/c.d). Second, of <!-- a.csv drop x=1 -->7.10 [5.65, 8.60]<!-- end --> points.

<!-- reports/table.md -->
| quoted |
<!-- end -->

- an item
- another
  that goes over two lines

| a cell | another one |
|---|---|

```python
code = "no sentence at all"
```
"""


def test_sentences_of_a_page_are_told_apart():
    assert list(sentences(PAGE)) == [
        "Title without an end",
        "First sentence with a link of five words here.",
        "Second, of 7.10 points.",
        "quoted",
        "an item",
        "another that goes over two lines",
        "a cell",
        "another one",
    ]


@pytest.mark.parametrize(("count", "named"), [(MAX_WORDS, 0), (MAX_WORDS + 1, 1)])
def test_sentence_above_the_limit_is_named(tmp_path, count, named):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    written(tmp_path / "page.md", " ".join(["word"] * count) + ".")
    assert len(list(faults(tmp_path))) == named


def test_data_of_a_run_are_not_checked(tmp_path):
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "reports/own").mkdir(parents=True)
    written(tmp_path / "reports/own/table.md", "mended")
    written(tmp_path / "reports/README.md", "mended")
    (fault,) = faults(tmp_path)
    assert "reports/README.md" in fault
