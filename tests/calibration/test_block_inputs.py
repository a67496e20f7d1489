import pytest
import torch
from torch import nn

from qhyvit.calibration.block_inputs import BlockCollector
from qhyvit.calibration.capture import capture
from qhyvit.calibration.losses import fisher_loss
from qhyvit.graph.bridge import find_bridge_blocks
from qhyvit.graph.bridge_subgraph import extract_block
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class Hybrid(nn.Module):
    """A map, then tokens whose number depends on the batch, as MobileViT folds patches into it."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.conv = nn.Conv2d(4, 8, 1)
        self.project = nn.Linear(8, 6)
        self.head = nn.Linear(6, 5)

    def project_map(self, x):
        patches = self.conv(x).unflatten(2, (2, 2)).movedim(2, 1)
        return self.project(patches.reshape(x.shape[0] * 2, 8, -1).transpose(1, 2))

    def forward(self, x):
        tokens = self.project_map(self.stem(x).relu())
        return self.classify(tokens)

    def classify(self, tokens):
        return self.head(tokens.reshape(tokens.shape[0] // 2, -1, 6).mean(1))


@pytest.fixture
def hybrid():
    torch.manual_seed(0)
    model, images = Hybrid(), torch.randn(4, 3, 8, 8)
    graph_module = trace(model, images)
    (bridge_block,) = find_bridge_blocks(graph_module, find_sites(graph_module))
    block = extract_block(graph_module, bridge_block)
    blocks = BlockCollector([block])
    capture(graph_module, find_sites(graph_module), images.split(2), None, seed=3, collectors=[blocks])
    return model, images, block, blocks.statistics()


def test_the_block_runs_on_all_images_at_once(hybrid):
    model, images, block, statistics = hybrid
    found = statistics[block.name]()
    with torch.no_grad():
        torch.testing.assert_close(block.graph_module(*found.inputs), model.project_map(model.stem(images).relu()))


def test_the_gradient_is_that_of_autograd(hybrid):
    model, images, block, statistics = hybrid
    generator = torch.Generator().manual_seed(3)
    gradients = []
    for batch in images.split(2):
        tokens = model.project_map(model.stem(batch).relu()).detach().requires_grad_()
        logits = model.classify(tokens)
        fisher_loss(logits, logits, generator).backward()
        gradients.append(tokens.grad)
    torch.testing.assert_close(statistics[block.name]().gradient, torch.cat(gradients))


def test_a_network_without_blocks_has_none_to_capture():
    model, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(16, 2)), torch.randn(2, 3, 2, 2)
    graph_module = trace(model, images)
    assert find_bridge_blocks(graph_module, find_sites(graph_module)) == []
    blocks = BlockCollector([])
    capture(graph_module, find_sites(graph_module), [images], None, seed=0, collectors=[blocks])
    assert blocks.statistics() == {}
