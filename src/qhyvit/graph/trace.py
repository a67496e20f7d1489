"""Trace a model to one flat graph of functional ATen operators by torch.export."""

import inspect
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from traceback import walk_tb

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from qhyvit.errors import InputError, first_words
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
    _require_traceable(model)
    model.eval()
    image = random_like(torch.cat([example, example[:1]]))  # a batch of another size, which graphs may not fix
    with torch.no_grad():
        expected = _finite(model, _run(model, image))  # before the export, for models that set up their buffers in the first run
    graph_module = _export(model, example)
    _inline_wrapped(graph_module)
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


def _require_traceable(model: nn.Module) -> None:
    """Raise InputError for a model with several required inputs, or with a part whose name a graph uses itself."""
    try:
        inspect.signature(model.forward).bind(None)
    except TypeError as error:
        said = f"does not run on images alone ({error})"
        raise InputError(f"{type(model).__name__}: {said}; wrap it in a module that takes one tensor of images") from error
    for name, _ in (*model.named_children(), *model.named_parameters(recurse=False), *model.named_buffers(recurse=False)):
        if hasattr(GraphModule, name):
            raise InputError(f"{type(model).__name__}: its part '{name}' has a name that traced graphs use themselves; rename it")


def _finite(model: nn.Module, output: Tensor) -> Tensor:
    """Return the result of the model on random images. Raises InputError if it is not finite, or holds no floating-point numbers."""
    name = type(model).__name__
    if not output.is_floating_point() or not output.numel():
        said = f"returns {output.dtype} of shape {list(output.shape)}, no floating-point numbers"
        raise InputError(f"{name}: {said}; wrap it in a module that returns the logits")
    if not output.isfinite().all():
        raise InputError(f"{name}: returns values that are not finite for random images; check its weights for very large values")
    return output


def _run(model: nn.Module, images: Tensor) -> Tensor:
    try:
        output = model(images.clone())
    except Exception as error:  # of any kind: the model is the user's
        said = f"cannot run on an input of shape {list(images.shape)} ({first_words(error)})"
        advice = "give it images of the size and the channels that it is made for; it has to take any number of them"
        raise InputError(f"{_origin(model, error)}: {said}; {advice}") from error
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
        said = f"torch.export cannot trace it ({first_words(error)})"
        advice = "make its control flow depend on shapes and settings alone, on no values of tensors and no batch size"
        if "batch" in str(error):
            advice += " (len(x) fixes it, x.shape[0] does not)"
        raise InputError(f"{_origin(model, error)}: {said}; {advice}") from error
    assert isinstance(graph_module, GraphModule)
    if any("functorch" in getattr(node.target, "__module__", "") for node in graph_module.graph.nodes):
        said = "its forward uses transforms of torch.func, which graphs cannot hold"
        raise InputError(f"{type(model).__name__}: {said}; write it without torch.vmap and derivatives")
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
    advice = "remove random operators, half precision and what forward changes in the model itself"
    raise InputError(f"{type(model).__name__}: {said}; {advice}")


def _origin(model: nn.Module, error: Exception) -> str:
    """Name the class of the model and the path of its innermost module that was running when the error was raised."""
    names = {module: name for name, module in model.named_modules() if name}
    running = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    paths = [names[module] for module in running if isinstance(module, nn.Module) and module in names]
    return f"{type(model).__name__}, module {paths[-1]}" if paths else type(model).__name__


GRAPH_ARGUMENT = {  # the place of the graph among the arguments
    torch.ops.higher_order.wrap_with_autocast: 4,
    torch.ops.higher_order.wrap_with_set_grad_enabled: 1,
}


def _inline_wrapped(graph_module: GraphModule) -> None:
    """Move the operators under ``torch.autocast`` and ``torch.no_grad`` from graphs of their own, where export keeps them, to the call.

    They then run without autocast: nothing changes where it was switched off, and the comparison with the model refuses the rest.
    """
    graph = graph_module.graph
    for call in [node for node in graph.nodes if node.target in GRAPH_ARGUMENT]:
        name, *operands = call.args[GRAPH_ARGUMENT[call.target] :]
        body = graph_module.get_submodule(name.target)
        assert isinstance(body, GraphModule)
        _inline_wrapped(body)
        with graph.inserting_before(call):
            outputs = graph.graph_copy(body.graph, dict(zip(body.graph.find_nodes(op="placeholder"), operands, strict=True)))
        for item in list(call.users):
            item.replace_all_uses_with(outputs[item.args[1]])  # type: ignore[index]
            graph.erase_node(item)
        graph.erase_node(call)
        graph.erase_node(name)
