"""Pack what a deposit under a DOI holds into one file of dist/ (docs/archive.md). The same commit and HTML reports give the same bytes."""

import gzip
import io
import subprocess
import sys
import tarfile
from contextlib import chdir
from importlib.metadata import version
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

from qhyvit.files import atomic_write, file_sha256
from workflow.scripts.crate import make_crate

NAME = f"qhyvit-repro-{version('qhyvit')}"
CHECKSUMS = Path("SHA256SUMS")


def main() -> None:
    """Write the archive and print its checksum, or exit with one line if it would not be that of a commit."""
    try:
        changed = git("status", "--porcelain").decode().splitlines()
        seconds, date = git("show", "--no-patch", "--format=%ct %cs", "HEAD").decode().split()
    except FileNotFoundError:
        sys.exit("an archive is made of a commit, and there is no program git in PATH; install git")
    except subprocess.CalledProcessError as error:
        sys.exit(f"an archive is made of a commit, in a clone by git: {error.stderr.decode().strip()}; run it in a clone of the project")
    if changed:
        sys.exit(
            f"an archive is made of a commit, and {changed[0][3:]} differs from it (files like it: {len(changed)}); commit or stash them"
        )
    archive = Path("dist") / f"{NAME}.tar.gz"
    with TemporaryDirectory() as folder, atomic_write(archive) as temporary:
        fill(Path(folder), date)
        pack(Path(folder), temporary, int(seconds))
    print(f"{file_sha256(archive)}  {archive}")


def git(*arguments: str) -> bytes:
    """Return what git prints."""
    return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout


def fill(folder: Path, date: str) -> None:
    """Put into ``folder`` the files of the commit, their HTML reports if there are any, the provenance crate, and the checksums of all."""
    with tarfile.open(fileobj=io.BytesIO(git("archive", "HEAD"))) as sources:
        sources.extractall(folder, filter="data")
    for report in Path("reports").rglob("report.html"):
        if (folder / report.parent).is_dir():
            copyfile(report, folder / report)
    with chdir(folder):
        make_crate(date).metadata.write(".")
        files = sorted(path for path in Path().rglob("*") if path.is_file())
        CHECKSUMS.write_text("".join(f"{file_sha256(path)}  {path}\n" for path in files), encoding="utf-8")


def pack(folder: Path, archive: Path, seconds: int) -> None:
    """Pack ``folder`` with nothing in it that the machine or the time of packing could change."""

    def neutral(member: tarfile.TarInfo) -> tarfile.TarInfo:
        mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
        return member.replace(mtime=seconds, mode=mode, uid=0, gid=0, uname="", gname="", deep=False)

    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for path in sorted(folder.rglob("*")):
            tar.add(path, Path(NAME) / path.relative_to(folder), recursive=False, filter=neutral)


if __name__ == "__main__":
    main()
