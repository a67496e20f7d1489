import json
import os
import subprocess
import sys
from itertools import permutations
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from qhyvit.graph.describe import describe
from qhyvit.reporting.figures.site_graph import plot_site_graph, site_graph

FONT_SIZE = 7


class Attention(nn.Module):
    """A residual convolution and a residual attention: their sums are no sites, so what reads them reads every term."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.local = nn.Conv2d(4, 4, 3, padding=1)
        self.qkv = nn.Linear(4, 12)
        self.proj = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        x = (x + self.local(x).relu()).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(x).chunk(3, -1)
        y = (q @ k.transpose(1, 2)).softmax(-1) @ v
        return self.head((x + self.proj(y)).mean(1))


def test_edges_run_from_each_site_to_those_that_read_it():
    graph = site_graph(describe(Attention(), torch.zeros(2, 3, 8, 8)))
    assert dict(graph.nodes(data="kind")) == {
        **{"stem": "conv", "local": "conv", "qkv": "linear", "matmul1": "matmul", "matmul2": "matmul"},
        **{"proj": "linear", "head": "linear"},
    }
    assert set(graph.edges) == {
        *(("stem", "local"), ("stem", "qkv"), ("local", "qkv")),
        *(("qkv", "matmul1"), ("qkv", "matmul2"), ("matmul1", "matmul2"), ("matmul2", "proj")),
        *(("proj", "head"), ("stem", "head"), ("local", "head")),
    }


def description(levels: int) -> dict:
    """Three sites a level that read all of the level before and one of the level before that, with two blocks."""
    names = [f"block.{index}" for index in range(3 * levels)]
    reads = [[*names[max(0, index - 6) : max(0, index - 5)], *names[index // 3 * 3 - 3 : index // 3 * 3]] for index in range(len(names))]
    kinds = ["conv", "linear", "matmul"] * levels
    sites = [{"name": name, "kind": kind, "reads": read} for name, kind, read in zip(names, kinds, reads, strict=True)]
    blocks = [{"kind": "conversion", "sites": names[:2]}, {"kind": "exchange", "sites": names[3:9]}]
    return {"model": "net", "sites": sites, "bridge_blocks": blocks}


@pytest.fixture(scope="module")
def svg(tmp_path_factory):
    path = tmp_path_factory.mktemp("figures") / "net.svg"
    plot_site_graph(description(50), path)
    return ElementTree.parse(path)


def test_every_site_is_named_once(svg):
    texts = [element.text for element in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(text for text in texts if text.startswith("block.")) == sorted(f"block.{index}" for index in range(150))


def test_every_bridge_block_is_marked(svg):
    marks = {element.get("id"): "".join(element.itertext()).strip() for element in svg.iter() if element.get("id", "").startswith("bridge")}
    assert marks == {"bridge-1": "1", "bridge-2": "2"}


def test_names_do_not_overlap(svg):
    texts = [element for element in svg.iter("{http://www.w3.org/2000/svg}text") if element.text.startswith("block.")]
    places = [(float(element.get("x")), float(element.get("y")), len(element.text)) for element in texts]
    for (x, y, length), (other_x, other_y, _) in permutations(places, 2):
        assert abs(y - other_y) >= FONT_SIZE or not x <= other_x < x + 0.6 * FONT_SIZE * length


def test_the_bytes_depend_on_nothing_but_the_description(tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(description(4)))
    module = "qhyvit.reporting.figures.site_graph"
    program = f"import json, sys, pathlib, {module} as d; d.plot_site_graph(json.load(open('net.json')), pathlib.Path(sys.argv[1]))"
    for seed in ("1", "2"):  # of the order in sets of strings
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, f"{seed}.svg"], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
