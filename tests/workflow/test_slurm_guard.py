"""Tests with a Slurm of their own leave the settings of any other alone."""

import sys
import tempfile
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "slurm"))
import cluster


@pytest.mark.parametrize(
    ("target", "of_another"), [(Path(tempfile.gettempdir(), "slurm-x/slurm.conf"), False), ("/shared/slurm-x/slurm.conf", True)]
)
def test_a_link_is_of_another_slurm_unless_it_leads_to_a_folder_of_the_tests(tmp_path, target, of_another):
    (tmp_path / "slurm.conf").symlink_to(target)
    assert cluster._is_of_another_slurm(tmp_path / "slurm.conf") == of_another


def test_a_file_is_of_another_slurm(tmp_path):
    assert not cluster._is_of_another_slurm(tmp_path / "slurm.conf")
    (tmp_path / "slurm.conf").touch()
    assert cluster._is_of_another_slurm(tmp_path / "slurm.conf")


def test_cluster_changes_nothing_where_there_can_be_none(monkeypatch):
    monkeypatch.setattr(cluster, "missing", lambda: "no Slurm here")
    with pytest.raises(RuntimeError, match="no Slurm here"):
        cluster.Cluster().__enter__()
