"""Section `deployment` of an experiment: which networks are exported and run as integers, next to those of other tools."""

from typing import Literal, NamedTuple

from pydantic import Field

from qhyvit.config.base import Mode, Strict
from qhyvit.config.runs import ListedRuns, refuse_doubles

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


class Deployment(Strict):
    """Section `deployment`: networks that are exported and run as integers by the engine of the format, on the evaluation images."""

    openvino: ListedRuns = ListedRuns()
    onnx: ListedRuns = ListedRuns()
    peers: list[Peer] = Field(
        default=[],
        description="other tools that quantize the same networks to W8A8 from the same images. nncf: its defaults; nncf-avx2: weights of 7"
        " bits, for processors without VNNI; nncf-mixed: asymmetric activations and accurate bias correction; nncf-transformer: SmoothQuant"
        " and its settings for transformers; onnxruntime: static quantization",
    )

    @property
    def exports(self) -> dict[Format, ListedRuns]:
        """Runs of methods of the experiment, by the format that they are exported to."""
        return {"openvino": self.openvino, "onnx": self.onnx}

    @property
    def own_runs(self) -> list[ExportedRun]:
        """Runs of methods of the experiment."""
        return [
            ExportedRun(method, bits, format)
            for format, listed in self.exports.items()
            for method in listed.methods
            for bits in listed.bits
        ]

    @property
    def runs(self) -> list[ExportedRun]:
        """Runs of methods and of peers."""
        return [*self.own_runs, *(ExportedRun(peer, PEER_BITS, PEER_FORMATS[peer]) for peer in self.peers)]

    def check(self, methods: list[str], bits: list[str], modes: list[Mode]) -> None:
        """Raise ValueError for a value listed twice, and for a run that an experiment of these ``methods``, ``bits``, ``modes`` lacks."""
        refuse_doubles({"deployment.peers": self.peers})
        for format, listed in self.exports.items():
            listed.check(f"deployment.{format}", methods, bits, modes)
