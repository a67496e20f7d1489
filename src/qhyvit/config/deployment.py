"""Section `deployment` of an experiment: which networks are exported and run as integers, next to those of other tools."""

from typing import Literal, NamedTuple

from pydantic import Field

from qhyvit.config.base import BitWidth, MethodName, Mode, Strict

Format = Literal["openvino", "onnx"]
Peer = Literal["nncf", "nncf-avx2", "nncf-mixed", "nncf-transformer", "onnxruntime"]
SUFFIXES: dict[Format, str] = {"openvino": ".xml", "onnx": ".onnx"}
ENGINES = {".xml": "openvino", ".onnx": "onnxruntime"}  # that run a file, by its suffix; also the names of their packages
PEER_FORMATS: dict[str, Format] = {
    "nncf": "openvino",
    "nncf-avx2": "openvino",
    "nncf-mixed": "openvino",
    "nncf-transformer": "openvino",
    "onnxruntime": "onnx",
}
PEER_BITS = "w8a8"


class ExportedRun(NamedTuple):
    """Run of a method or peer whose quantized network is exported."""

    method: str
    bits: str
    format: Format


class Exports(Strict):
    """Runs that are exported to one format: each method at each bit-width."""

    methods: list[MethodName] = Field(default=[], description="methods of the experiment; their runs in mode partial")
    bits: list[BitWidth] = Field(default=[], description="bit-widths of the experiment")


class Deployment(Strict):
    """Section `deployment`: networks that are exported and run as integers by the engine of the format, on the evaluation images."""

    openvino: Exports = Exports()
    onnx: Exports = Exports()
    peers: list[Peer] = Field(
        default=[],
        description="other tools that quantize the same networks to W8A8 from the same images. nncf: its defaults; nncf-avx2: weights of 7"
        " bits, for processors without VNNI; nncf-mixed: asymmetric activations and accurate bias correction; nncf-transformer: SmoothQuant"
        " and its settings for transformers; onnxruntime: static quantization",
    )

    @property
    def own_runs(self) -> list[ExportedRun]:
        """Runs of methods of the experiment."""
        exports: dict[Format, Exports] = {"openvino": self.openvino, "onnx": self.onnx}
        return [
            ExportedRun(method, bits, format) for format, listed in exports.items() for method in listed.methods for bits in listed.bits
        ]

    @property
    def runs(self) -> list[ExportedRun]:
        """Runs of methods and of peers."""
        return [*self.own_runs, *(ExportedRun(peer, PEER_BITS, PEER_FORMATS[peer]) for peer in self.peers)]

    def check(self, methods: list[str], bits: list[str], modes: list[Mode]) -> None:
        """Raise ValueError for a run that an experiment with these ``methods``, ``bits`` and ``modes`` does not have."""
        for run in self.own_runs:
            for key, value, known in (("methods", run.method, methods), ("bits", run.bits, bits)):
                if value not in known:
                    raise ValueError(f"deployment.{run.format}.{key}: the experiment has no {value!r}; add it to `{key}` or remove it")
        if self.own_runs and "partial" not in modes:
            raise ValueError("deployment: exports runs in mode partial, which the experiment does not have; add it to `modes`")
