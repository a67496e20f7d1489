"""Make torchvision importable with a PyTorch build that its compiled operators do not fit.

timm needs torchvision's image transforms, which are plain Python. The published torchvision wheels carry operators linked
against CUDA; with a CPU build of PyTorch these do not load, and the import stops because two operators are not declared.
Nothing here calls them, so declaring them is enough. Any other error is passed on.
"""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

_UNUSED_OPERATORS = ("nms", "qnms")
_declarations: list[object] = []  # a torch.library.Library undoes its declarations when it is collected


def ensure_torchvision() -> None:
    """Import torchvision, and declare its unused operators if exactly their absence stops the import."""
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        import torch

        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in _UNUSED_OPERATORS:
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _declarations.append(library)
        importlib.import_module("torchvision")


class _BeforeTimm(MetaPathFinder):
    """Finder of no module, which Python asks before it imports timm."""

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if fullname == "timm":
            sys.meta_path.remove(self)
            ensure_torchvision()


def ensure_torchvision_before_timm() -> None:
    """Have `ensure_torchvision` called when timm is imported for the first time, and not before: it takes seconds."""
    sys.meta_path.insert(0, _BeforeTimm())
