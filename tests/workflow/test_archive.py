"""Archive for a deposit under a DOI, and the provenance crate in it."""

import os
import re
import shutil
import subprocess
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path

import pytest
from conftest import REPOSITORY, commit_everything

from workflow.scripts.archive import NAME, main
from workflow.scripts.crate import make_crate

ARCHIVE = Path(f"dist/{NAME}.tar.gz")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout of one commit, with a program, a link, and the HTML report of a run."""
    root = tmp_path / "checkout"
    for name in ("CITATION.cff", ".gitattributes", ".gitignore", ".ci/run", "src/qhyvit/COMMIT"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name)
    (root / "link").symlink_to("src/qhyvit/COMMIT")
    (root / "reports/mine").mkdir(parents=True)
    (root / "reports/results.csv").touch()
    commit_everything(root)
    for folder in ("reports", "reports/mine"):  # the second of a run whose results are not committed
        (root / folder / "report.html").write_text("<html>")
    monkeypatch.chdir(root)
    return root


def run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()


def test_archive_holds_the_commit_the_report_and_checksums_of_all(checkout, tmp_path, capsys):
    main()
    assert capsys.readouterr().out == f"{run('sha256sum', str(ARCHIVE), cwd=checkout)}\n"
    shutil.unpack_archive(ARCHIVE, tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked" / NAME
    assert (unpacked / "link").read_text() == run("git", "rev-parse", "HEAD", cwd=checkout) + "\n"
    assert (unpacked / ".ci/run").stat().st_mode & 0o100
    names = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()}
    expected = set(run("git", "ls-files", cwd=checkout).splitlines()) | {"reports/report.html", "ro-crate-metadata.json"}
    assert names == expected | {"SHA256SUMS"}
    checked = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=unpacked).splitlines()
    assert sorted(checked) == sorted(f"{name}: OK" for name in expected)


def test_archive_does_not_depend_on_times_and_permissions_of_the_checkout(checkout):
    main()
    first = ARCHIVE.read_bytes()
    os.utime("reports/report.html", (0, 0))
    Path("reports/report.html").chmod(0o600)
    ARCHIVE.unlink()
    main()
    assert ARCHIVE.read_bytes() == first


def test_change_that_is_not_committed_is_refused(checkout):
    (checkout / "link").unlink()
    with pytest.raises(
        SystemExit, match=r"^an archive is made of a commit, and link differs from it \(files like it: 1\); commit or stash them$"
    ):
        main()
    assert not ARCHIVE.parent.exists()


def test_copy_without_git_is_refused(checkout):
    shutil.rmtree(checkout / ".git")
    with pytest.raises(SystemExit, match=r"^an archive is made of a commit, in a clone by git: fatal: not a git repository"):
        main()


def test_fault_leaves_no_archive(checkout, monkeypatch):
    monkeypatch.setattr("workflow.scripts.archive.tarfile.TarFile.add", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main()
    assert list(ARCHIVE.parent.iterdir()) == []


@pytest.fixture(scope="module")
def crate():
    """Entities of the crate of this repository, by identifier."""
    with chdir(REPOSITORY):
        entities = make_crate("2026-01-01").metadata.generate()["@graph"]
    assert len({entity["@id"] for entity in entities}) == len(entities)
    return {entity["@id"]: entity for entity in entities}


def references(value) -> set[str]:
    """All identifiers that an entity refers to."""
    if isinstance(value, dict):
        return {value["@id"]}
    return set().union(*map(references, value)) if isinstance(value, list) else set()


def test_everything_that_the_crate_names_is_in_it_and_there(crate):
    profiles = {"https://w3id.org/ro/crate/1.1", "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"}
    known = {*crate, *profiles, "https://w3id.org/workflowhub/workflow-ro-crate/1.0"}
    for entity in crate.values():
        for key in entity.keys() - {"identifier", "url"}:
            assert references(entity[key]) <= known
        if {"File", "Dataset"} & {*(entity["@type"] if isinstance(entity["@type"], list) else [entity["@type"]])}:
            assert (REPOSITORY / entity["@id"]).exists()


def test_folder_with_hashes_of_weights_alone_is_no_action(checkout, monkeypatch):
    (checkout / "reports/imagenet-5").mkdir()
    (checkout / "reports/imagenet-5/experiment.txt").write_text("config/experiments/imagenet-5.yaml\n")
    monkeypatch.chdir(checkout)
    assert "#run-reports/imagenet-5" not in {entity["@id"] for entity in make_crate("2026-01-01").metadata.generate()["@graph"]}


def test_each_experiment_is_an_action_of_the_workflow(crate):
    assert crate[crate["./"]["mainEntity"]["@id"]]["@type"] == ["File", "SoftwareSourceCode", "ComputationalWorkflow"]
    actions = [entity for entity in crate.values() if entity["@type"] == "CreateAction"]
    assert references(crate["./"]["mentions"]) == {action["@id"] for action in actions}
    assert len(actions) == len([*(REPOSITORY / "reports").rglob("results.csv")])
    assert all(action["instrument"] == crate["./"]["mainEntity"] for action in actions)


def test_action_has_its_settings_inputs_and_files(crate):
    action = crate["#run-reports/all-methods"]
    used, written = references(action["object"]), references(action["result"])
    assert {"config/experiments/all-methods.yaml", "data.dvc", "dvc-store/", "requirements.lock"} <= used
    settings = {crate[name]["name"]: crate[name]["value"] for name in used if crate[name]["@type"] == "PropertyValue"}
    assert (settings["bits"], settings["seed"]) == ("w8a8, w6a6", "0")
    assert settings["model"].split(", ")[0] == "mobilevit_xxs"
    assert re.fullmatch(r"[0-9a-f]{40}(, [0-9a-f]{40})*", settings["commit"])
    assert crate["reports/all-methods/figures/claims.svg"]["name"] == "drops by network, next to published ones where known"
    assert crate["reports/all-methods/results.csv"]["encodingFormat"] == "text/csv"
    assert all(name.startswith("reports/all-methods/") for name in written)


def test_default_experiment_has_no_files_of_others(crate):
    parts = {Path(name).parts[1] for name in references(crate["#run-reports"]["result"])}
    assert "results.csv" in parts
    assert not parts & {"all-methods", "benchmarks", "README.md", "claims.csv", "claims.md", "claims.tex"}


def test_experiment_on_images_of_others_names_no_images(crate):
    assert not references(crate["#run-reports/imagenet-mini"]["object"]) & {"data.dvc", "dvc-store/"}


def test_version_to_cite_is_that_of_the_package(crate):
    assert crate["./"]["version"] == version("qhyvit")
