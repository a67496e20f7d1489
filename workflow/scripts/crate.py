"""Provenance of the committed reports as a Workflow Run RO-Crate, in which each experiment is an action of the workflow."""

from importlib.metadata import version
from mimetypes import guess_type
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.model.entity import Entity
from rocrate.rocrate import ROCrate

from qhyvit.config.loading import Config, load_config
from qhyvit.config.reports import MARKER
from qhyvit.data.dvc import tracked_hash
from qhyvit.reporting.registry import FIGURES, RESULTS, TABLES

REPORTS = Path("reports")
NO_RUN = {"README.md", "benchmarks", "claims.csv", "claims.md", "claims.tex", "runs.tar.xz.dvc"}  # in reports/, but of no run
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
TERMS = "https://w3id.org/ro/terms/workflow-run/context"
INPUTS = {
    "data.dvc": "Hashes of the embedded images and weights.",
    "dvc-store/": "The embedded images and weights: a sample of CIFAR-10, and networks that the project has trained on it.",
    "requirements.lock": "Versions of all packages.",
}
RUNS = Path("provenance/runs.csv")
CHOSEN = {  # columns of RUNS
    "model": "Networks.",
    "method": "Methods of quantization.",
    "mode": "Partial or full quantization.",
    "bits": "Bits of weights and of activations.",
    "seed": "Seeds of the calibration images.",
}
FOUND = ("commit", "processor", "torch")  # columns too, of which old files lack some


def make_crate(published: str) -> ROCrate:
    """Describe the sources and the reports in the current folder, as published on that date."""
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append(TERMS)
    _describe_root(crate, yaml.safe_load(Path("CITATION.cff").read_text(encoding="utf-8")), published)
    inputs = [_add_input(crate, path, content) for path, content in INPUTS.items()]
    workflow = _add_workflow(crate)
    _add_file(crate, "README.md", name="README", about={"@id": "./"})
    for runs in sorted(REPORTS.rglob(str(RUNS))):  # a folder without has hashes of weights alone
        crate.root_dataset.append_to("mentions", _add_run(crate, workflow, inputs, runs.parents[1]))
    return crate


def _add(crate: ROCrate, identifier: str, kind: str, **properties: Any) -> Entity:
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))


def _describe_root(crate: ROCrate, citation: dict[str, Any], published: str) -> None:
    (author,), (article,) = citation["authors"], citation["references"]
    licence = f"https://spdx.org/licenses/{citation['license']}"
    root = crate.root_dataset
    crate.name, crate.description, crate.keywords = citation["title"], citation["abstract"], citation["keywords"]
    crate.license = _add(crate, licence, "CreativeWork", name=citation["license"], description="Terms of images: docs/archive.md.")
    crate.datePublished = published
    root["version"], root["author"] = citation["version"], _add(crate, "#authors", "Organization", name=author["name"])
    root["citation"] = _add(crate, article["url"], "ScholarlyArticle", name=article["title"])
    root["conformsTo"] = [_add(crate, url, "CreativeWork", name=name, version=url.rpartition("/")[2]) for url, name in PROFILES.items()]


def _add_file(crate: ROCrate, path: str, **properties: Any) -> Entity:
    kind, _ = guess_type(path)
    return crate.add_file(dest_path=path, properties={"encodingFormat": kind or "text/plain", **properties})


def _add_input(crate: ROCrate, path: str, content: str) -> Entity:
    properties = {"name": path, "description": content}
    return crate.add_dataset(dest_path=path, properties=properties) if path.endswith("/") else _add_file(crate, path, **properties)


def _add_workflow(crate: ROCrate) -> Entity:
    snakemake = version("snakemake")
    workflow = crate.add_workflow(dest_path="workflow/Snakefile", main=True, lang="snakemake", lang_version=snakemake)
    workflow["version"] = crate.root_dataset["version"]
    workflow["name"], workflow["license"], workflow["creator"] = crate.name, crate.license, crate.root_dataset["author"]
    workflow["softwareRequirements"] = [
        _add(crate, "#snakemake", "SoftwareApplication", name="Snakemake", version=snakemake, url="https://snakemake.github.io"),
        _add(crate, "#qhyvit", "SoftwareApplication", name="qhyvit", version=version("qhyvit"), description="The library in src/."),
    ]
    workflow["input"] = [crate.add_formal_parameter(name, "Text", f"#{name}", meaning, True) for name, meaning in CHOSEN.items()]
    workflow["output"] = crate.add_formal_parameter("reports", "File", "#reports", "Results, tables and figures.")
    return workflow


def _add_run(crate: ROCrate, workflow: Entity, inputs: list[Entity], folder: Path) -> Entity:
    """Add the action that has written a folder of reports: with all inputs if the project holds its images."""
    path = (folder / MARKER).read_text(encoding="utf-8").strip()
    config, runs = load_config(Path(path), allow_unset_env=True), pd.read_csv(folder / RUNS, dtype=str)
    embedded = tracked_hash(config.experiment.dataset.calibration) is not None
    used = [_add_input(crate, path, "Configuration of the experiment."), *(inputs if embedded else inputs[-1:])]
    used += [_add_setting(crate, folder, runs[name]) for name in (*CHOSEN, *FOUND) if name in runs]
    command, note = f"make reproduce CONFIG={path}", "The times of its start and end are not recorded."
    properties = {"@type": "CreateAction", "name": command, "description": note, "agent": crate.root_dataset["author"]}
    return crate.add_action(workflow, f"#run-{folder}", used, _add_outputs(crate, folder, _titles(config)), properties)


def _add_setting(crate: ROCrate, folder: Path, values: pd.Series) -> Entity:
    parameter = {"exampleOfWork": {"@id": f"#{values.name}"}} if values.name in CHOSEN else {}
    return _add(crate, f"#{folder}-{values.name}", "PropertyValue", name=values.name, value=", ".join(values.unique()), **parameter)


def _add_outputs(crate: ROCrate, folder: Path, titles: dict[Path, str]) -> list[Entity]:
    others = {file.parent for file in folder.glob(f"*/{MARKER}")} | {REPORTS / name for name in NO_RUN}
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not others & {path, *path.parents})
    names = {path: titles.get(path.relative_to(folder).with_suffix(""), path.name) for path in paths}
    return [_add_file(crate, str(path), name=name, exampleOfWork={"@id": "#reports"}) for path, name in names.items()]


def _titles(config: Config) -> dict[Path, str]:
    """Titles of tables and figures by their paths in the folder of reports, without suffix."""
    titles = {Path("results"): RESULTS.title} | {Path(table.path): table.title for table in TABLES.values()}
    instances = ((figure, instance) for figure in FIGURES.values() for instance in figure.instances(config))
    return titles | {Path(figure.path.format(**instance)): figure.title.format(**instance) for figure, instance in instances}
