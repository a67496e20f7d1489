from collections import OrderedDict

import pytest
import torch
from torch import nn

from qhyvit.errors import InputError
from qhyvit.graph.nodes import module_path
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace


class InPlace(nn.Module):
    """Changes a tensor in place and reads it before and after."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        y = self.layer(x)
        before = y * 2
        torch.relu_(y)
        return self.dropout(before + y)


def test_in_place_operators_become_functional():
    model, x = InPlace().eval(), torch.randn(3, 4)
    graph_module = trace(model, x)
    names = [str(node.target) for node in graph_module.graph.nodes]
    assert "aten.relu.default" in names
    assert not any("relu_." in name or "dropout" in name for name in names)
    other_batch = torch.randn(7, 4)
    torch.testing.assert_close(graph_module(other_batch), model(other_batch))


def test_nodes_know_their_module():
    graph_module = trace(InPlace(), torch.randn(3, 4))
    paths = [module_path(node) for node in graph_module.graph.nodes if "linear" in str(node.target)]
    assert paths == ["layer"]


class Autocast(nn.Module):
    """Computes an attention under nested, forced autocast."""

    def __init__(self, enabled):
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.enabled = enabled

    def forward(self, x):
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.enabled):
            scores = self.layer(x) @ x.transpose(1, 2)
            with torch.autocast(x.device.type, enabled=False):
                attended = scores.float() @ x
        return attended.float(), scores.float()


class AttendedAndScores(nn.Module):
    def __init__(self, enabled):
        super().__init__()
        self.attention = Autocast(enabled)

    def forward(self, x):
        attended, scores = self.attention(x)
        return attended + scores.sum(2, keepdim=True)


def test_operators_under_autocast_become_part_of_the_graph():
    model = AttendedAndScores(enabled=False).eval()
    graph_module = trace(model, torch.randn(3, 5, 4))
    sites = find_sites(graph_module)
    assert [site.name for site in sites] == ["attention.layer", "attention.matmul1", "attention.matmul2"]
    assert {node.op for node in graph_module.graph.nodes} == {"get_attr", "placeholder", "call_function", "output"}
    other_batch = torch.randn(7, 5, 4)
    torch.testing.assert_close(graph_module(other_batch), model(other_batch))


class Frozen(nn.Module):
    """A convolution without gradients before a layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x):
        with torch.no_grad():
            x = self.stem(x).relu()
        return self.head(x.mean((2, 3)))


def test_operators_under_no_grad_become_part_of_the_graph():
    model = Frozen()
    graph_module = trace(model, torch.zeros(2, 3, 8, 8))
    assert [site.name for site in find_sites(graph_module)] == ["stem", "head"]
    x = torch.randn(5, 3, 8, 8)
    torch.testing.assert_close(graph_module(x), model(x))


def test_model_in_half_precision_is_refused():
    with pytest.raises(InputError, match="differs from the model"):
        trace(AttendedAndScores(enabled=True), torch.randn(3, 5, 4))


class LateTable(nn.Module):
    """Computes a table of constants in its first run."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.zeros(1), persistent=False)

    def forward(self, x):
        if len(self.table) != x.shape[1]:
            self.table = torch.arange(x.shape[1]).float()
        return x * self.table


def test_buffers_of_the_first_run_are_constants_of_the_graph():
    x = torch.randn(3, 4)
    torch.testing.assert_close(trace(LateTable(), x)(x), x * torch.tensor([0.0, 1.0, 2.0, 3.0]))


class ReadsValues(nn.Module):
    """Has a control flow that depends on the values of its input."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


class FixesBatch(nn.Module):
    """Reads the batch size as a number."""

    def forward(self, x):
        return x.view(len(x), -1)


class Counts(nn.Module):
    """Changes itself in each run."""

    def forward(self, x):
        self.runs = getattr(self, "runs", 0) + 1
        return x * self.runs


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x + y


class Function(nn.Module):
    """Computes a function of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def even(x):
    assert x.shape[0] % 2 == 0
    return x


REFUSED = {
    "indices": (lambda: Function(lambda x: x.topk(2).indices), r"^Function: returns torch.int64 of shape \[3, 2\], no floating-point"),
    "truth values": (lambda: Function(lambda x: x > 0), "^Function: returns torch.bool of shape "),
    "complex": (lambda: Function(torch.fft.fft), "^Function: returns torch.complex64 of shape "),
    "nothing": (lambda: Function(lambda x: x[:, :0]), r"^Function: returns torch.float32 of shape \[3, 0\], no floating-point"),
    "not finite": (lambda: Function(lambda x: x * 1e30 * 1e30), "^Function: returns values that are not finite .*; check its weights"),
    "changes itself": (Counts, "^Counts: the traced graph differs .*what forward changes in the model itself$"),
    "two inputs": (TwoInputs, r"^TwoInputs: does not run on images alone \(missing a required argument: 'y'\); wrap it in a module"),
    "reserved name": (lambda: nn.Sequential(OrderedDict(code=nn.Linear(4, 4))), "^Sequential: its part 'code' has a name .*; rename it$"),
    "even batches": (lambda: Function(even), r"^Function: cannot run on an input of shape \[3, 4\] .*it has to take any number of them$"),
    "vmap": (lambda: Function(torch.vmap(torch.sin)), "^Function: its forward uses transforms of torch.func, .*without torch.vmap"),
    "jvp": (lambda: Function(lambda x: torch.func.jvp(torch.sin, (x,), (x,))[1]), "^Function: its forward uses transforms of torch.func"),
    "batch size": (FixesBatch, r"^FixesBatch: .* no batch size \(len\(x\) fixes it, x\.shape\[0\] does not\)$"),
    "control flow": (
        lambda: nn.Sequential(nn.Identity(), ReadsValues()),
        "^Sequential, module 1: .* cannot trace .*control flow",
    ),
    "input size": (lambda: nn.Sequential(nn.Linear(7, 2)), r"^Sequential, module 0: cannot run on an input of shape \[3, 4\] .*size"),
    "two results": (lambda: nn.LSTM(4, 4), "^LSTM: returns tuple, not one tensor; wrap it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_model_that_cannot_be_traced_is_refused_in_one_line(case):
    build, message = REFUSED[case]
    with pytest.raises(InputError, match=message) as refused:
        trace(build(), torch.randn(2, 4))
    assert "\n" not in str(refused.value)
