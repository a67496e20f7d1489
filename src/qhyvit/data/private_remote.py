"""Remote of the private data: a place that the user names, never one that the project publishes."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from qhyvit.errors import InputError

PRIVATE = Path("imagenet")
CONFIG = PRIVATE / ".dvc/config"
NAME_ONE = f"name one that you alone read: `dvc --cd {PRIVATE} remote add --default NAME URL`, with a folder, ssh://... or s3://..."
PLUGINS = ("azure", "gs", "s3", "ssh")  # kinds of URL that a package named dvc-<kind> serves


class Remote(NamedTuple):
    """Remote of DVC: its name and URL, or its folder."""

    name: str
    url: str
    verifies: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


def require_remote() -> Remote:
    """Return the default remote of the private data.

    Raises InputError if none is configured, if the project publishes it, or if the package that serves its kind of URL is missing.
    """
    settings, own = _settings(PRIVATE), _settings(Path())
    name = settings["core"].get("remote")
    if name not in settings["remote"]:
        found = "names no remote" if name is None else f"core.remote: {name!r} is no remote there"
        raise InputError(f"{CONFIG}: {found}; {NAME_ONE}")
    remote = Remote(name, str(settings["remote"][name]["url"]), bool(settings["remote"][name].get("verify")))
    published = {str(of_project["url"]) for of_project in own["remote"].values()}
    if remote.url in published or ("://" not in remote.url and Path(remote.url).resolve().is_relative_to(Path.cwd().resolve())):
        raise InputError(f"{CONFIG}: {remote} is published with this project, and ImageNet may not be; {NAME_ONE}")
    kind = remote.url.partition("://")[0]
    if kind in PLUGINS and find_spec(f"dvc_{kind}") is None:
        raise InputError(f"{CONFIG}: {remote} needs the package dvc-{kind}; `.venv/bin/pip install dvc-{kind}`")
    return remote


def _settings(repository: Path) -> dict[str, Any]:
    """Read the configuration of a DVC repository on all levels."""
    from dvc.config import Config, ConfigError  # not at the top: it takes a while, and few commands need it

    try:
        return dict(Config(str(repository / ".dvc")))
    except ConfigError as error:
        raise InputError(f"{repository / '.dvc/config'}: {' '.join(str(error).split())}; correct it") from error
