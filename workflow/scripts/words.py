"""Check the words of the project: how docstrings open, words that are never right, and the length of sentences on its pages."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

MAX_WORDS = 25
OPENERS = ("What", "Whether", "Whose", "How", "The same", "That", "Those")
# Per word, what to write instead. Words that are right somewhere are not here.
REPLACEMENTS = {
    "mend(s|ed|ing)?": "fix",
    "beside": "next to, with or given",
    "goes on": "resumes or continues",
    "but for": "without or except",
    "unrounded": "FP32 or not quantized",
    "qhyvit-in-sample": "qhyvit, the paper's method",
    "qhyvit-code": "qhyvit-released",
    "fqvit-ported": "fqvit-released",
}
TEXT = ("*.py", "*.smk", "*.md", "*.yaml", "*.yml", "*.rst", "*.html", "*.toml", "*.cff", "Makefile", "*Snakefile", ".ci/run")
DATA = ("reports/*/*", "resources/*", "dvc-store/*")  # written by runs, or by others
FORBIDDEN = {re.compile(rf"\b{word}\b", flags=re.IGNORECASE): instead for word, instead in REPLACEMENTS.items()}
FENCED = re.compile(r"^(```|~~~).*?^\1", flags=re.DOTALL | re.MULTILINE)
COMMENT = re.compile(r"<!--.*?-->", flags=re.DOTALL)
IMAGE_OR_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
INTERVAL = re.compile(r" \[-?[\d.]+, -?[\d.]+\]")


def faults(root: Path) -> Iterator[str]:
    """Name all faults of the files that git tracks, or would, under ``root``."""
    for path in _files(root, *TEXT):
        if path.name not in ("words.py", "test_words.py"):
            yield from word_faults(path)
    for path in _files(root, "*.py"):
        yield from docstring_faults(path)
    for path in _files(root, "*.md"):
        yield from sentence_faults(path)


def _files(root: Path, *patterns: str) -> list[Path]:
    exclude = [f":(exclude){pattern}" for pattern in DATA]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns, *exclude]
    names = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    return [root / name for name in sorted(set(names)) if (root / name).is_file() and not (root / name).is_symlink()]


def docstring_faults(path: Path) -> Iterator[str]:
    """Name each docstring of a module that opens with a word that cannot stand alone in help()."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            opening = ast.get_docstring(node) or ""
            if re.match(rf"({'|'.join(OPENERS)})\b", opening):
                yield f"{path}:{getattr(node, 'lineno', 1)}: a docstring opens with {' '.join(opening.split()[:3])!r}"


def word_faults(path: Path) -> Iterator[str]:
    """Name each forbidden word of a text file, with the word to write instead."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for word, instead in FORBIDDEN.items():
            if match := word.search(line):
                yield f"{path}:{number}: {match[0]!r}; write {instead}"


def sentence_faults(path: Path) -> Iterator[str]:
    """Name each sentence of a Markdown page that is longer than `MAX_WORDS`."""
    for sentence in sentences(path.read_text()):
        count = len(sentence.split())
        if count > MAX_WORDS:
            yield f"{path}: {count} words: {sentence}"


def sentences(page: str) -> Iterator[str]:
    """Yield the sentences of a Markdown page, without code and marks.

    A heading, an item of a list and a cell of a table each end a sentence; an interval belongs to its number.
    """
    for pattern, text in ((FENCED, "\n\n"), (COMMENT, ""), (IMAGE_OR_LINK, r"\1"), (INTERVAL, "")):
        page = pattern.sub(text, page)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#>]|\d+\.) ?)|\|", page):
        text = " ".join(re.sub(r"^[\s#>*-]+", "", block).split())
        yield from (sentence for sentence in re.split(r"(?<=[.!?])[*_)]*\s+", text) if re.search(r"\w", sentence))
