"""ONNX with QDQ: convert lowered graphs, write them, and compile them by ONNX Runtime."""

import json
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import GraphModule

from qhyvit.deploy.extra import convertible, import_extra
from qhyvit.deploy.lowering import Form
from qhyvit.deploy.openvino import Called
from qhyvit.files import atomic_write
from qhyvit.graph.operators import aten
from qhyvit.graph.sites import Site

NAME = "ONNX"
FIRST_FORM: Form = "shifted"  # ONNX Runtime takes one zero point per tensor
OPSET = 17
# Weights of 8 bits are made unsigned where the processor would otherwise add pairs of products in 16 bits, which are too few.
SETTINGS = {"session.x64quantprecision": "1"}
INTEGER_PRODUCTS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat")
FLOAT_PRODUCTS = ("Conv", "FusedConv", "NhwcFusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


def convert(graph_module: GraphModule, inputs: Sequence[Tensor]) -> Any:
    """Return the `onnx.ModelProto` of a lowered graph, for inputs of the shapes of ``inputs`` alone; the checker has passed it.

    Raises InputError for an operator that the format lacks.
    """
    onnx = import_extra("onnx")
    for node in graph_module.graph.find_nodes(op="call_function", target=aten.mT.default):  # torch.onnx lacks it
        node.target, node.args = aten.transpose.int, (node.args[0], -2, -1)
    graph_module.recompile()
    names = [f"images{index or ''}" for index in range(len(inputs))]
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself and about shapes that are constants here
        path = Path(folder, "model.onnx")
        with convertible(NAME):
            torch.onnx.export(Called(graph_module), tuple(inputs), path, input_names=names, opset_version=OPSET, dynamo=False)
        model = onnx.load(path)
    with torch.no_grad():
        found = graph_module(*inputs)
    _state_outputs(model.graph, [found] if isinstance(found, Tensor) else found)
    _store_integers(onnx, model.graph)
    onnx.checker.check_model(model, full_check=True)
    return model


def _state_outputs(graph: Any, outputs: Sequence[Tensor]) -> None:
    """Name the outputs as those of OpenVINO's files, instead of by the numbers of nodes, and state their shapes."""
    for index, (output, found) in enumerate(zip(graph.output, outputs, strict=True)):
        for dimension, size in zip(output.type.tensor_type.shape.dim, found.shape, strict=True):
            dimension.dim_value = size
        name = f"logits{index or ''}"
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [name if other == output.name else other for other in names]
        output.name = name


def _store_integers(onnx: Any, graph: Any) -> None:
    """Store rounded weights as integers, which the file then holds instead of a float weight and its rounding."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}  # constants of products have a single scale, which is none of these
    _remove_copies(graph, tensors.keys())
    for node in [node for node in graph.node if node.op_type == "QuantizeLinear" and {*node.input[:2]} <= tensors.keys()]:
        weight, scale = (onnx.numpy_helper.to_array(tensors[name]) for name in node.input[:2])
        integers = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        (reader,) = [other for other in graph.node if node.output[0] in other.input]
        reader.input[2] = f"{node.output[0]}_zero_point"
        graph.initializer.append(onnx.numpy_helper.from_array(integers, node.output[0]))
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(len(scale), np.int8), reader.input[2]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _remove_copies(graph: Any, names: Collection[str]) -> None:
    """Remove the copies of the initializers ``names`` that the exporter has made of equal ones."""
    sources = {name: name for name in names}
    for node in graph.node:
        node.input[:] = [sources.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.input[0] in sources:
            sources[node.output[0]] = node.input[0]
    kept = [node for node in graph.node if node.output[0] not in sources]
    del graph.node[:]
    graph.node.extend(kept)


def compile_model(model: Any, threads: int | None = None, profile: Path | None = None) -> Any:
    """Return the ONNX Runtime session of a converted model, or of the file of one, with all cores by default."""
    runtime = import_extra("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    for name, value in SETTINGS.items():
        options.add_session_config_entry(name, value)
    if profile is not None:
        options.add_session_config_entry("session.disable_prepacking", "1")  # the profile has no shapes of prepacked weights
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def run(compiled: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of a session."""
    named = {slot.name: tensor.numpy() for slot, tensor in zip(compiled.get_inputs(), inputs, strict=True)}
    return [torch.from_numpy(found) for found in compiled.run(None, named)]


def input_shape(compiled: Any) -> list[int]:
    """Return the shape of the images that a session takes."""
    return list(compiled.get_inputs()[0].shape)


def fused_wrongly(sites: Sequence[Site]) -> set[str]:
    """Return the names of sites that ONNX Runtime fuses with others and then computes wrongly: none."""
    return set()


def save(model: Any, path: Path) -> None:
    """Write the model."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))


def products(path: Path, compiled: Any) -> list[tuple[int, bool]]:
    """Return the multiply-accumulates of each convolution, linear layer and matrix product of a file, and if its kernel is of integers.

    The session runs once more, under ONNX Runtime's profiler.
    """
    with TemporaryDirectory() as folder:
        profiled = compile_model(path, threads=1, profile=Path(folder, "profile"))
        run(profiled, [torch.zeros(input_shape(compiled))])
        events = json.loads(Path(profiled.end_profiling()).read_text())
    kernels = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
    known = (*INTEGER_PRODUCTS, *FLOAT_PRODUCTS)
    return [(_macs(kernel), kernel["op_name"] in INTEGER_PRODUCTS) for kernel in kernels if kernel["op_name"] in known]


def _macs(kernel: dict[str, Any]) -> int:
    inputs, outputs = ([next(iter(slot.values())) for slot in kernel[f"{kind}_type_shape"]] for kind in ("input", "output"))
    if kernel["op_name"] == "ConvTranspose":
        return int(np.prod(inputs[0]) * np.prod(inputs[1][1:]))
    if "Conv" in kernel["op_name"]:
        weight = inputs[3 if kernel["op_name"] == "QLinearConv" else 1]
        return int(np.prod(outputs[0]) * np.prod(weight[1:]))
    rows, columns = inputs[0][-2:]
    summed = columns if rows == outputs[0][-2] else rows  # of a left operand that the kernel transposes
    return int(np.prod(outputs[0]) * summed)
