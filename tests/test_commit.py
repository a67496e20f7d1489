"""Commit that results record: of a checkout, an archive, a copy without git, and a checkout that git refuses or that has no git."""

import shutil
import subprocess
import warnings
from pathlib import Path

import pytest
from conftest import REPOSITORY

from qhyvit import commit
from qhyvit.commit import git_commit

COMMIT = Path("src/qhyvit/COMMIT")


def git(folder, *arguments):
    author = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *author, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder of code, as which the package's own stands."""
    (tmp_path / COMMIT).parent.mkdir(parents=True)
    for name in (COMMIT, ".gitattributes"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    monkeypatch.setattr(commit, "__file__", str(tmp_path / COMMIT.with_name("commit.py")))
    return tmp_path


@pytest.fixture
def checkout(code):
    """The folder as a checkout of one commit."""
    git(code, "init", "--quiet")
    git(code, "add", "--all")
    git(code, "commit", "--quiet", "-m", "first")
    return code


def test_commit_of_a_checkout_is_its_own(checkout):
    assert git_commit() == git(checkout, "rev-parse", "HEAD")


def test_archive_has_the_commit_that_it_was_made_of_even_inside_another_checkout(checkout, monkeypatch):
    first = git(checkout, "rev-parse", "HEAD")
    git(checkout, "archive", "--prefix=unpacked/", "--output=code.tar", first)
    shutil.unpack_archive(checkout / "code.tar", checkout)
    git(checkout, "commit", "--quiet", "--allow-empty", "-m", "second")
    monkeypatch.setattr(commit, "__file__", str(checkout / "unpacked" / COMMIT.with_name("commit.py")))
    assert git_commit() == first


def test_copy_without_git_is_unknown_without_a_warning(code):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert git_commit() == "unknown"


def test_checkout_of_another_user_is_unknown_with_what_git_says(checkout, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.warns(UserWarning, match=r"record the commit as unknown: fatal: .*dubious ownership.* git config --global --add safe\.dir"):
        assert git_commit() == "unknown"


def test_checkout_without_a_program_git_is_unknown_with_a_warning(checkout, monkeypatch):
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.warns(UserWarning, match="record the commit as unknown: there is no program git in PATH"):
        assert git_commit() == "unknown"


def test_checkout_without_a_commit_is_unknown_with_a_warning(code):
    git(code, "init", "--quiet")
    with pytest.warns(UserWarning, match="record the commit as unknown: fatal: "):
        assert git_commit() == "unknown"
