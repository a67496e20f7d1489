"""Names of timm in the order in which the sweep takes them: one of each architecture first, the small ones before the large ones."""

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import timm
import torch
from rich.progress import track
from timm.models import model_entrypoint
from torch.overrides import TorchFunctionMode

from benchmarks.common import WORK
from qhyvit.files import atomic_write

PLAN = WORK / "timm_plan.csv"
LARGEST_SIDE = 400  # pixels of the default input
LARGEST = 150e6  # parameters


def planned() -> pd.DataFrame:
    """Return one row per name of timm: family, side in pixels, parameters, and if it stands for its architecture; made once.

    An architecture is a family with a set of classes of modules, and the smallest network of it stands for all.
    """
    if not PLAN.exists():
        rows = [_describe(name) for name in track(timm.list_models(), "building without values")]
        table = pd.DataFrame(rows).sort_values(["parameters", "model"])
        table["first"] = ~table.duplicated(["family", "classes"])
        table = table.sort_values("first", ascending=False, kind="stable")
        PLAN.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(PLAN) as path:
            table.drop(columns="classes").to_csv(path, index=False)
    return pd.read_csv(PLAN)


def _describe(name: str) -> dict[str, Any]:
    published = timm.get_pretrained_cfg(name, allow_unregistered=True)
    side = max(published.input_size[1:]) if published else 224
    family = Path(model_entrypoint(name).__code__.co_filename).stem
    row = {"model": name, "family": family, "size": side, "parameters": float("nan"), "classes": name}
    if side > LARGEST_SIDE:
        return row
    with warnings.catch_warnings(), torch.device("meta"), _WithoutValues():
        warnings.simplefilter("ignore")
        try:
            network = timm.create_model(name, exportable=True)
        except Exception:  # of any kind: it reads values, so it is an architecture of its own, of unknown size
            return row
    classes = json.dumps(sorted({type(module).__qualname__ for module in network.modules()}))
    return row | {"parameters": sum(parameter.numel() for parameter in network.parameters()), "classes": classes}


class _WithoutValues(TorchFunctionMode):
    """Leaves out what only sets values in place, which is most of the time that building takes."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        sets_values = name.endswith("_") and not name.endswith("__") and args and isinstance(args[0], torch.Tensor)
        return args[0] if sets_values and "requires_grad" not in name else function(*args, **(kwargs or {}))
