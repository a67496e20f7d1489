"""Trace a model to one flat graph of functional ATen operators by torch.export."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from textwrap import shorten
from traceback import walk_tb

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from qhyvit.errors import InputError
from qhyvit.graph.attention import split_attention
from qhyvit.graph.computed_weights import fold_computed_weights
from qhyvit.graph.convolutions import rewrite_convolutions
from qhyvit.graph.functional import make_functional, restore_operators, without_changed_views
from qhyvit.graph.operators import IDENTITIES_IN_EVAL, aten
from qhyvit.graph.products import rewrite_products
from qhyvit.graph.random_input import random_like
from qhyvit.graph.strides import run_with_views

# PyTorch copies its own graphs by a class that it deprecates.
warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)`", category=FutureWarning)


def trace(model: nn.Module, example: Tensor) -> GraphModule:
    """Trace ``model`` in eval mode on ``example`` [B, C, H, W], B > 1; the graph takes any batch size and keeps each node's module path.

    Fused attention is split, so that both of its products are nodes; weights that depend on no input are computed, and convolutions and
    products in another form than that of sites are written in it. Raises InputError for a model that cannot run on the example or
    cannot be exported, and for a graph that does not compute what the model computes.
    """
    model.eval()
    image = random_like(torch.cat([example, example[:1]]))  # a batch of another size, which graphs may not fix
    with torch.no_grad():
        expected = _run(model, image.clone(), example)  # before the export, for models that set up their buffers in the first run
    graph_module = _export(model, example)
    _inline_autocast(graph_module)
    for node in list(graph_module.graph.nodes):
        if node.op == "call_module" or node.target is aten._assert_tensor_metadata.default:  # guards on shapes and types
            graph_module.graph.erase_node(node)
        elif node.target in IDENTITIES_IN_EVAL:
            node.replace_all_uses_with(node.args[0])
            graph_module.graph.erase_node(node)
    make_functional(graph_module)
    split_attention(graph_module)
    rewrite_products(graph_module)
    fold_computed_weights(graph_module)
    rewrite_convolutions(graph_module)
    graph_module.graph.lint()
    with torch.no_grad():
        _require_equal(model, run_with_views(graph_module, image), expected)
    return graph_module.requires_grad_(False)


def _run(model: nn.Module, image: Tensor, example: Tensor) -> Tensor:
    try:
        output = model(image)
    except Exception as error:  # of any kind: the model is the user's
        said = f"cannot run on an input of shape {list(example.shape)} ({_summary(error)})"
        raise InputError(f"{_origin(model, error)}: {said}; give it images of the size and the channels that it is made for") from error
    if not isinstance(output, Tensor):
        said = f"returns {type(output).__name__}, not one tensor"
        raise InputError(f"{type(model).__name__}: {said}; wrap it in a module that returns the logits alone")
    return output


def _export(model: nn.Module, example: Tensor) -> GraphModule:
    batch = torch.export.Dim("batch")
    try:
        with _quietly():
            program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
            graph_module = without_changed_views(program).module()
    except Exception as error:  # torch.export has no exception of its own
        said = f"torch.export cannot trace it ({_summary(error)})"
        advice = "make its control flow depend on shapes and settings alone, on no values of tensors and no batch size"
        if "batch" in str(error):
            advice += " (len(x) fixes it, x.shape[0] does not)"
        raise InputError(f"{_origin(model, error)}: {said}; {advice}") from error
    assert isinstance(graph_module, GraphModule)
    restore_operators(graph_module)
    return graph_module


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide the warnings and the unfinished graph that torch.export prints when it fails."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(disabled)


def _require_equal(model: nn.Module, output: Tensor, expected: Tensor) -> None:
    if torch.allclose(output, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())):
        return
    said = f"the traced graph differs from the model by {float((output - expected).abs().max()):.3g}"
    advice = "remove random operators and half precision"
    raise InputError(f"{type(model).__name__}: {said}; {advice}")


def _origin(model: nn.Module, error: Exception) -> str:
    """Name the class of the model and the path of its innermost module that was running when the error was raised."""
    names = {module: name for name, module in model.named_modules() if name}
    running = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    paths = [names[module] for module in running if isinstance(module, nn.Module) and module in names]
    return f"{type(model).__name__}, module {paths[-1]}" if paths else type(model).__name__


def _summary(error: Exception) -> str:
    """Return the first words of an error's message in one line."""
    return shorten(str(error), 200) or type(error).__name__


def _inline_autocast(graph_module: GraphModule) -> None:
    """Move the operators under each ``torch.autocast`` from the graph of their own, where export keeps them, to where it is called.

    They then run without autocast: nothing changes where it was switched off, and the comparison with the model refuses the rest.
    """
    graph = graph_module.graph
    for call in graph.find_nodes(op="call_function", target=torch.ops.higher_order.wrap_with_autocast):
        name, *operands = call.args[4:]
        body = graph_module.get_submodule(name.target)
        assert isinstance(body, GraphModule)
        _inline_autocast(body)
        with graph.inserting_before(call):
            outputs = graph.graph_copy(body.graph, dict(zip(body.graph.find_nodes(op="placeholder"), operands, strict=True)))
        for item in list(call.users):
            item.replace_all_uses_with(outputs[item.args[1]])  # type: ignore[index]
            graph.erase_node(item)
        graph.erase_node(call)
        graph.erase_node(name)
