"""Networks, their weights, and their training."""

from qhyvit.torchvision_compat import ensure_torchvision

ensure_torchvision()  # timm imports torchvision, so this has to come before it
