"""Remote of private data: one that the user names, and that the project does not publish."""

from pathlib import Path

import pytest

from qhyvit.data.dvc import tracked_hash
from qhyvit.data.private_remote import require_remote
from qhyvit.data.sharing import share
from qhyvit.errors import InputError

OWN = "[core]\n    remote = store\n['remote \"store\"']\n    url = {url}\n"


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    configure(Path(), "../dvc-store")


def configure(repository: Path, url: str) -> None:
    (repository / ".dvc").mkdir(parents=True, exist_ok=True)
    (repository / ".dvc/config").write_text(OWN.format(url=url))


@pytest.mark.parametrize("content", [None, "", "[core]\n    remote = lost\n"])
def test_remote_that_is_not_configured_is_one_line_with_the_command(content):
    if content is not None:
        configure(Path("imagenet"), "")
        Path("imagenet/.dvc/config").write_text(content)
    fault = "core.remote: 'lost' is no remote there" if content else "names no remote"
    with pytest.raises(InputError, match=rf"^imagenet/\.dvc/config: {fault}; .*`dvc --cd imagenet remote add --default NAME URL`") as error:
        require_remote()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["../../dvc-store", "../../anywhere/in/the/clone", "../store"])
def test_folder_in_the_clone_is_refused(url):
    configure(Path("imagenet"), url)
    with pytest.raises(InputError, match=r"^imagenet/\.dvc/config: store \(.*\) is published with this project, and ImageNet may not be"):
        require_remote()


def test_remote_of_the_project_is_refused_wherever_it_is():
    configure(Path(), "s3://public/store")
    configure(Path("imagenet"), "s3://public/store")
    with pytest.raises(InputError, match="is published with this project"):
        require_remote()


@pytest.mark.parametrize("url", ["file:///private", "local:///private"])
def test_url_that_dvc_takes_for_a_folder_of_the_clone_is_not_pushed_to(url):
    configure(Path("imagenet"), url)
    Path("imagenet/mini").mkdir()
    with pytest.raises(InputError, match=r"^imagenet/\.dvc/config: store \(.*:///private\) is a URL without a host, .* name one"):
        share([Path("imagenet/mini")])
    assert not Path("imagenet/mini.dvc").exists()


def test_remote_outside_of_the_clone_is_accepted(tmp_path):
    configure(Path("imagenet"), "../../../private")
    assert require_remote() == ("store", str(tmp_path / "private"), False)


def test_missing_plugin_is_named_with_its_installation(monkeypatch):
    configure(Path("imagenet"), "gs://bucket/folder")
    monkeypatch.setattr("qhyvit.data.private_remote.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"store \(gs://bucket/folder\) needs the package dvc-gs; `\.venv/bin/pip install dvc-gs`"):
        require_remote()


def test_malformed_configuration_is_one_line():
    configure(Path("imagenet"), "")
    Path("imagenet/.dvc/config").write_text("[core]\n    magic = 1\n")
    with pytest.raises(InputError, match=r"^imagenet/\.dvc/config: .*; correct it$"):
        require_remote()


def test_other_data_than_private_ones_are_not_shared():
    configure(Path("imagenet"), "../../../private")
    for path, fault in (("data/weights", "not in the folder imagenet"), ("imagenet/absent", "no such file or folder")):
        with pytest.raises(InputError, match=rf"^{path}: {fault}"):
            share([Path(path)])


def test_part_of_what_is_tracked_is_not_shared_by_itself():
    configure(Path("imagenet"), "../../../private")
    Path("imagenet/mini/evaluation").mkdir(parents=True)
    Path("imagenet/mini.dvc").write_text("outs:\n- path: mini\n  md5: 1.dir\n")
    with pytest.raises(InputError, match=r"^imagenet/mini/evaluation: DVC tracks imagenet/mini, of which it is a part; share that$"):
        share([Path("imagenet/mini/evaluation")])


def test_hash_is_that_of_the_file_next_to_a_path_or_to_a_folder_that_holds_it():
    configure(Path("imagenet/weights"), "")
    Path("imagenet/mini.dvc").write_text("outs:\n- path: mini\n  md5: 1.dir\n")
    Path("imagenet/weights/a.safetensors.dvc").write_text("outs:\n- path: a.safetensors\n  md5: '2'\n")
    Path("data.dvc").write_text("outs:\n- path: data/cifar10\n  md5: 3.dir\n")
    expected = {
        "imagenet/mini": "1.dir",
        "imagenet/mini/evaluation": "1.dir",
        "imagenet/weights/a.safetensors": "2",
        "imagenet/weights/b.safetensors": None,
        "imagenet/other": None,
        "imagenet/../data/mini": None,
        "data/cifar10/evaluation": "3.dir",
        "data/mini": None,
        "/data/cifar10": None,
        ".": None,
    }
    assert {name: tracked_hash(Path(name)) for name in expected} == expected
