import numpy as np
import pandas as pd

from qhyvit.reporting.catalog import MethodCatalog
from qhyvit.reporting.figures.claims import claims_figure

METHODS = MethodCatalog(labels={"minmax": "Min-max", "ptq4vit": "PTQ4ViT", "qhyvit": "Q-HyViT"}, published_as={}, steps={})


def run(model, method, drop):
    row = {"dataset": "set", "model": model, "family": "F", "mode": "partial", "method": method, "w_bits": 8, "a_bits": 8, "seed": 0}
    return row | {"images": 10, "top1": 90 - drop, "top1_fp32": 90.0, "drop": drop, "drop_low": drop - 1, "drop_high": drop + 1}


def strokes(axes):
    """Return the finite points [N, 2] of the published drops."""
    points = np.concatenate([line.get_xydata() for line in axes.lines if line.get_marker() == "|" and len(line.get_xdata())])
    return points[np.isfinite(points).all(axis=1)]


def test_published_drop_lies_in_the_line_of_its_network_and_method():
    results = pd.DataFrame([run(model, method, 2.0) for model in ("a", "b") for method in ("minmax", "ptq4vit", "qhyvit")])
    published = pd.DataFrame([{"model": "b", "method": "ptq4vit", "w_bits": 8, "a_bits": 8, "drop": 30.0}])
    axes = claims_figure(results, published, METHODS).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    ((drop, place),) = strokes(axes)
    assert drop == 30
    (mark,) = [container for container in axes.containers if container.get_label() == "PTQ4ViT"]
    assert place in mark.lines[0].get_ydata()
    assert mark.lines[0].get_xdata().tolist() == [2, 2]
    assert round(place) == 1
    assert "Min-max" not in {container.get_label() for container in axes.containers}
