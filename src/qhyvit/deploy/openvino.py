"""OpenVINO: convert lowered graphs, write them as .xml and .bin, and compile them for the processor."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from qhyvit.deploy.extra import convertible, import_extra
from qhyvit.deploy.lowering import Form
from qhyvit.deploy.weights_file import require_own_weights
from qhyvit.files import atomic_write, target_of
from qhyvit.graph.nodes import is_batched, shape_of
from qhyvit.graph.sites import Site
from qhyvit.graph.walks import visit

# One stream, as for images that come one by one; and what is on no grid is computed in float32, as by the simulator.
SETTINGS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
NAME = "OpenVINO"
FIRST_FORM: Form = "integer"
TRANSPOSED = ("ConvolutionBackpropData", "GroupConvolutionBackpropData")
PRODUCTS = ("Convolution", "GroupConvolution", *TRANSPOSED, "MatMul")  # of a file
KERNELS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul", "Subgraph")  # that compute them


class Called(nn.Module):
    """Module that calls a traced graph, which torch.export takes only so."""

    def __init__(self, graph_module: GraphModule) -> None:
        super().__init__()
        self.graph_module = graph_module

    def forward(self, *inputs: Tensor) -> Any:
        """Return the outputs of the graph."""
        return self.graph_module(*inputs)


def convert(graph_module: GraphModule, inputs: Sequence[Tensor]) -> Any:
    """Return the `openvino.Model` of a lowered graph, for inputs of the shapes of ``inputs`` alone.

    Raises InputError for an operator that OpenVINO lacks.
    """
    openvino = import_extra("openvino")
    exported = torch.export.export(Called(graph_module), tuple(inputs), strict=False)
    with convertible(NAME):
        model = openvino.convert_model(exported, input=[list(tensor.shape) for tensor in inputs])
    import_extra("openvino._offline_transformations").compress_quantize_weights_transformation(model)
    _name(model)
    return model


def _name(model: Any) -> None:
    """Replace the automatic names, which count what the process has converted before."""
    model.set_friendly_name("quantized")
    for index, operation in enumerate(model.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
        for output in operation.outputs():
            output.get_tensor().set_names(set())
    for names, kind in ((model.inputs, "images"), (model.outputs, "logits")):
        for index, tensor in enumerate(names):
            tensor.get_tensor().set_names({f"{kind}{index or ''}"})


def compile_model(model: Any, threads: int | None = None) -> Any:
    """Compile a converted model, or the file of one, for the processor, with all cores by default."""
    openvino = import_extra("openvino")
    limit = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
    return openvino.Core().compile_model(model, "CPU", SETTINGS | limit)


def run(compiled: Any, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the outputs of a compiled model."""
    found = compiled([tensor.contiguous().numpy() for tensor in inputs])
    return [torch.from_numpy(np.array(found[index])) for index in range(len(found))]


def input_shape(compiled: Any) -> list[int]:
    """Return the shape of the images that a compiled model takes."""
    return list(compiled.input(0).shape)


def fused_wrongly(sites: Sequence[Site]) -> set[str]:
    """Return the names of linear layers that follow each other on one vector per image.

    Where there is VNNI, OpenVINO 2026.4 makes one kernel of them, which computes 8-bit products wrongly. Vectors may be added or
    multiplied in between.
    """
    flat = {site.node: site.name for site in sites if site.kind == "linear" and len(shape_of(site.operand_nodes[0])) == 2}
    found = set()
    for node, name in flat.items():
        reached = visit(_batched_inputs(node), lambda other: other not in flat and _leads_to_vectors(other), _batched_inputs)
        before = {flat[other] for other in reached if other in flat}
        found |= before | ({name} if before else set())
    return found


def _batched_inputs(node: Node) -> list[Node]:
    return [other for other in node.all_input_nodes if is_batched(other)]


def _leads_to_vectors(node: Node) -> bool:
    return len(_batched_inputs(node)) == 1 or len(shape_of(node)) == 2


def save(model: Any, path: Path) -> None:
    """Write ``path``, an .xml file, and the weights next to it as .bin; the .xml comes last, so that it is never without weights.

    Both are next to the file that ``path`` links to. Raises InputError if the .bin is there without it.
    """
    openvino = import_extra("openvino")
    path = target_of(path)
    require_own_weights(path)
    with atomic_write(path) as temporary, TemporaryDirectory(dir=temporary.parent, prefix=f".{path.name}.") as folder:
        written = Path(folder, path.name)
        openvino.save_model(model, written, compress_to_fp16=False)
        written.with_suffix(".bin").replace(path.with_suffix(".bin"))
        written.replace(temporary)


def products(path: Path, compiled: Any) -> list[tuple[int, bool]]:
    """Return the multiply-accumulates of each convolution, linear layer and matrix product of a file, and if its kernel is of integers.

    On some processors one kernel computes a whole attention; it multiplies integers if its first operand is one.
    """
    kernels = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ordered_ops()]
    names = [(_word(facts["originalLayersNames"]).split(","), facts) for facts in kernels if _word(facts["layerType"]) in KERNELS]
    found = []
    for operation in import_extra("openvino").Core().read_model(path).get_ordered_ops():
        if operation.get_type_name() in PRODUCTS:
            name = operation.get_friendly_name()
            types = [
                _word(facts["primitiveType"]) for layers, facts in names if any(f"{layer}/".startswith(f"{name}/") for layer in layers)
            ]
            found.append((_macs(operation), any(kernel.upper().endswith("I8") for kernel in types)))
    return found


def _macs(operation: Any) -> int:
    name, outputs = operation.get_type_name(), int(np.prod(list(operation.output(0).shape)))
    left, right = (list(operation.input_value(index).shape) for index in (0, 1))
    if name == "MatMul":
        return outputs * int(left[-2 if operation.get_attributes()["transpose_a"] else -1])
    kernel = int(np.prod(right[2 if name.startswith("Group") else 1 :]))
    return kernel * (int(np.prod(left)) if name in TRANSPOSED else outputs)


def _word(value: Any) -> str:
    return str(value.astype(str))
