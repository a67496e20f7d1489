"""Copies of the project without git, as archives are unpacked."""

import shutil

import pytest

pytestmark = pytest.mark.slow
FETCH = ("-m", "qhyvit", "fetch", "weights", "--config", "config/config.yaml", "--model", "tiny_hybrid", "--output", "weights.json")


@pytest.fixture
def unpacked(fresh):
    """The tiny project before its first run, without git."""
    shutil.rmtree(fresh.root / ".git")
    return fresh


def test_run_pulls_its_data_and_says_that_the_commit_is_unknown(unpacked):
    printed = unpacked.snakemake("--until", "fetch_weights").stdout
    assert "results record the commit as unknown" in printed
    assert (unpacked.root / "results/tiny/tiny_hybrid/weights.json").exists()


def test_remote_that_lacks_an_object_is_restored_without_git(unpacked):
    shutil.rmtree(unpacked.root / "dvc-store/files")
    printed = unpacked.run(*FETCH, check=False).stdout
    assert "`dvc pull` failed" in printed
    assert "(fix: unpack dvc-store again, or `dvc push` from an intact copy)" in printed
