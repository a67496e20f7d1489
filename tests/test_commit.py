"""Commit that results record: of a checkout, of a copy without git, and of a checkout that git refuses or that has no git."""

import subprocess
import warnings

import pytest

from qhyvit import commit
from qhyvit.commit import git_commit


def git(folder, *arguments):
    author = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *author, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """A folder of code, as which the package's own stands."""
    (tmp_path / "src").mkdir()
    monkeypatch.setattr(commit, "__file__", str(tmp_path / "src/commit.py"))
    return tmp_path


@pytest.fixture
def checkout(code):
    """The folder as a checkout of one commit."""
    git(code, "init", "--quiet")
    git(code, "commit", "--quiet", "--allow-empty", "-m", "first")
    return code


def test_commit_of_a_checkout_is_its_own(checkout):
    assert git_commit() == git(checkout, "rev-parse", "HEAD")


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
