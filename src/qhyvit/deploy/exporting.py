"""Export a quantized model to a file that an inference engine runs with integers."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from qhyvit.deploy.engines import find_engine
from qhyvit.deploy.extra import convertible
from qhyvit.deploy.lowering import Form, lower
from qhyvit.deploy.verification import SiteCheck, check_sites
from qhyvit.deploy.weights_file import require_own_weights
from qhyvit.errors import InputError
from qhyvit.graph.traced_model import TracedModel
from qhyvit.presets import methods_for
from qhyvit.quantizers.base import Quantizers


@dataclass(frozen=True)
class Exported:
    """The file that was written, and how it differs from the simulator.

    ``checks`` has each quantized site with the form that it was given, and ``kept`` the sites that stay FP32 by choice. ``difference`` is
    the largest of all logits of the example, in parts of the largest logit; values on a rounding tie are part of it.
    """

    path: Path
    checks: list[SiteCheck]
    kept: list[str]
    difference: float

    @property
    def in_floating_point(self) -> list[str]:
        """Sites whose rounded operands are multiplied in floating point, since the integers disagree."""
        return [check.site for check in self.checks if check.form == "float"]

    @property
    def disagreeing(self) -> list[SiteCheck]:
        """Sites that this processor computes otherwise than the simulator, in every form or because it adds in 16 bits."""
        return [check for check in self.checks if not check.agrees]

    @property
    def remarks(self) -> list[str]:
        """Sentences on how the file differs from the simulator."""
        said = [f"Logits of one image differ from the simulation's by at most {100 * self.difference:.2g} % of the largest."]
        if self.kept:
            said.append(f"FP32, as asked for: {', '.join(self.kept)}.")
        if self.in_floating_point:
            said.append(f"Multiplied in floating point, since its integers disagree: {', '.join(self.in_floating_point)}.")
        wrong = [check for check in self.disagreeing if check.saturates]
        for check in [check for check in self.disagreeing if not check.saturates]:
            said.append(f"{check.site} differs from the simulation by {check.difference:.2g} of its largest output in every form.")
        if wrong:
            worst = max(wrong, key=lambda check: check.difference)
            said.append(
                f"This processor has no VNNI and computes {len(wrong)} sites with 8-bit weights wrongly, most of all {worst.site}, by"
                f" {worst.difference:.2g} of its largest output; run the file on a processor with VNNI, or quantize with"
                f" {' or '.join(methods_for('openvino-cpu-avx2'))}."
            )
        return said


def export(model: TracedModel, quantizers: Quantizers, example: Tensor, path: Path, keep: Collection[str] = ()) -> Exported:
    """Write the quantized model as OpenVINO IR (``path`` ends in .xml) or as ONNX with QDQ (.onnx), whole or not at all.

    The file takes images of the shape of ``example`` [B, C, H, W] alone, which is also what the sites are checked on. The sites ``keep``
    stay FP32. Raises InputError for a suffix without an engine, a .bin that belongs to no .xml and would be replaced, an unknown site, and
    quantizers that the engine cannot execute.
    """
    engine = find_engine(path)
    require_own_weights(path)
    unknown = sorted(set(keep) - quantizers.keys())
    if unknown:
        raise InputError(f"keep {unknown[0]!r}: no quantized site of this network; `qhyvit inspect` lists them")
    quantized: Quantizers = {site: operands for site, operands in quantizers.items() if site not in keep}
    checks = check_sites(model, quantized, example, engine)
    forms: Mapping[str, Form] = {check.site: check.form for check in checks}
    converted = engine.convert(lower(model, quantized, example, forms), [example])
    with torch.no_grad():
        simulated = model.with_quantizers(quantized)(example)
    found = torch.stack([logits for threads in (1, None) for logits in _logits(engine, converted, example, threads)])
    engine.save(converted, path)
    return Exported(path, checks, sorted(keep), float((found - simulated).abs().max() / simulated.abs().max()))


def _logits(engine: ModuleType, converted: Any, example: Tensor, threads: int | None) -> list[Tensor]:
    """Return the logits of two runs with so many threads (None: all cores): an engine may be right in its first run alone."""
    with convertible(engine.NAME):
        compiled = engine.compile_model(converted, threads)
    return [engine.run(compiled, [example])[0] for _ in range(2)]
