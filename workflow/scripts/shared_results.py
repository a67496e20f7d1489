"""Share results of finished jobs under DVC, so that another machine continues from them: `python -m workflow.scripts.shared_results share`.

What is shared is small: results, errors of sites, seconds, logits of FP32 networks, and Snakemake's records of how each was made, by which
it decides whether code or settings have changed since. Calibrations and quantizers are not, so that machines divide an experiment by seeds
or by networks.
"""

import os
import shutil
import sys
import tarfile
from collections.abc import Iterable
from filecmp import cmp
from pathlib import Path
from tempfile import TemporaryDirectory

import typer

from qhyvit.config.base import NO_DATASETS
from qhyvit.data.dvc import DVC_FILE, dvc_file, pull, run_dvc, said
from qhyvit.errors import InputError
from qhyvit.files import atomic_write

ARCHIVE = Path("reports/runs.tar.xz")
RESULTS, RECORDS = Path("results"), Path(".snakemake/metadata")
SHARED = ["*.json", "*.csv", "*.tsv", "fp32.safetensors"]
NOT_SHARED = {*NO_DATASETS} - {"benchmarks"}  # folders of results that no result depends on
OF_MACHINE = ["*.tsv", "*.stamp.csv", "*.stamps.csv"]  # seconds and time stamps

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def share() -> None:
    """Write the archive, track it by DVC and push it to the store of the project."""
    paths = files_shared()
    if not any(path.is_relative_to(RESULTS) for path in paths):
        raise InputError(f"{RESULTS}: no results of finished jobs here; run `make reproduce` first")
    with atomic_write(ARCHIVE) as temporary, tarfile.open(temporary, "w:xz") as archive:
        for path in paths:
            archive.add(path)
    for command in ("add", "push"):
        result = run_dvc(ARCHIVE, command, str(ARCHIVE))
        if result.returncode:
            raise InputError(f"{ARCHIVE}: `dvc {command}` failed: {said(result)}; fix the cause, and repeat make share-results")
    typer.echo(f"{len(paths)} files in {ARCHIVE}; commit {dvc_file(ARCHIVE)} and what is new in dvc-store")


@app.command()
def fetch() -> None:
    """Get the archive and add what it has to the results here, with the times at which they were made.

    The data come with it: the next run fetches none, since it finds their manifest and receipts among the results.
    """
    for target in (DVC_FILE, ARCHIVE):
        pull(target)
    with TemporaryDirectory(dir=".", prefix=".shared-results-") as folder, tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
        paths = [Path(member.name) for member in archive if member.isfile()]
        require_results(paths, Path(folder))
        for path in paths:
            take(Path(folder, path), path)
    typer.echo(f"{len(paths)} files of {ARCHIVE} are in {RESULTS} and {RECORDS}")


def files_shared() -> list[Path]:
    """List results of finished jobs, and all records of Snakemake."""
    results = (path for pattern in SHARED for path in RESULTS.rglob(pattern) if _is_shared(path))
    return sorted([*results, *(path for path in RECORDS.rglob("*") if path.is_file())])


def _is_shared(path: Path) -> bool:
    """Tell if a file of results is of a run. Commands of `benchmarks` write next to the seconds of jobs."""
    folder = path.relative_to(RESULTS).parts[0]
    return not path.name.startswith(".") and folder not in NOT_SHARED and (folder != "benchmarks" or path.suffix == ".tsv")


def require_results(paths: Iterable[Path], folder: Path) -> None:
    """Raise InputError for a result that is here too, with other bytes, and for a file that is neither a result nor a record.

    Seconds and time stamps may differ: those of this machine stay.
    """
    for path in paths:
        if ".." in path.parts or not (path.is_relative_to(RESULTS) or path.is_relative_to(RECORDS)):
            raise InputError(f"{ARCHIVE}: has {path}, which is no result; `make share-results` on a machine that has them writes it anew")
        same_everywhere = not path.is_relative_to(RECORDS) and not any(map(path.match, OF_MACHINE))
        if same_everywhere and path.exists() and not cmp(path, folder / path, shallow=False):
            raise InputError(f"{path}: is not that of {ARCHIVE}; move {RESULTS} away to take the shared results, or share those here")


def take(source: Path, target: Path) -> None:
    """Move a file to where there is none. One that is there is as old as the older of both, so that nothing has to be made again."""
    if not target.exists():
        with atomic_write(target) as temporary:
            shutil.move(source, temporary)  # keeps its time; results may be a link to another disk
    elif source.stat().st_mtime < target.stat().st_mtime:
        os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))


if __name__ == "__main__":
    try:
        app()
    except InputError as error:
        sys.exit(str(error))
