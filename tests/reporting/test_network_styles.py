"""Looks of networks in figures."""

import pandas as pd

from qhyvit.reporting.figures.style import network_styles

PAPER = {"mobilevit_xxs": "MobileViTv1", "mobilevit_xs": "MobileViTv1", "mobile_former_26m": "Mobile-Former", "mine": "Mine"}


def looks(*models):
    runs = pd.DataFrame([(model, PAPER[model]) for model in models for _ in range(2)], columns=["model", "family"])
    styles = network_styles(runs)
    assert list(styles) == sorted(models)
    return {model: (style["color"], style["marker"], style["markerfacecolor"]) for model, style in styles.items()}


def test_network_looks_the_same_next_to_other_families():
    alone, together = looks("mobilevit_xxs"), looks("mobile_former_26m", "mobilevit_xxs")
    assert alone["mobilevit_xxs"] == together["mobilevit_xxs"]
    assert together["mobilevit_xxs"] != together["mobile_former_26m"]


def test_networks_of_one_family_and_of_unknown_ones_differ():
    assert len({*looks(*PAPER).values()}) == len(PAPER)
