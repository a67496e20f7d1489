"""Files of tensors: weights, checkpoints, calibrations, quantizers, shards, logits and unfinished tunings."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mutations import ODD_TENSORS, ODD_VALUES, fuzz, listed, mutated_bytes, mutated_tensors, result_or_refusal
from safetensors.torch import load, save
from tiny_hybrid import TinyHybrid
from torch import Tensor, nn

from qhyvit.calibration.block_inputs import BlockStatistics
from qhyvit.calibration.capture import capture
from qhyvit.calibration.output_samples import OutputCollector
from qhyvit.calibration.recalibration import Recalibration
from qhyvit.calibration.serialization import (
    load_output_statistics,
    load_recalibration,
    load_statistics,
    save_recalibration,
    save_statistics,
)
from qhyvit.calibration.tensor_file import in_memory
from qhyvit.evaluation.metrics import mean_kl
from qhyvit.evaluation.predictions import Predictions, read_reference, save_reference
from qhyvit.evaluation.shards import merge_shards, save_shard
from qhyvit.graph.output_sites import find_output_sites
from qhyvit.graph.sites import find_sites
from qhyvit.graph.trace import trace
from qhyvit.models.checkpoints import convert_checkpoint
from qhyvit.models.zoo import load_weights
from qhyvit.quantizers.floating_point import FloatingPoint
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.serialization import load_parameters, load_quantizers, save_quantizers
from qhyvit.quantizers.twin import AddedTwinUniformQuantizer, TwinUniformQuantizer, after_softmax
from qhyvit.quantizers.uniform import UniformQuantizer
from qhyvit.tuning.checkpoint import Checkpoint, Progress

pytestmark = pytest.mark.filterwarnings("ignore")
RECORD = {"inputs": {"weights": "ab"}, "settings": {"seed": 0, "images": 2}, "calibrated": {"inputs": {"weights": "cd"}}}
FILE, INPUT, OUTPUT = Path("file.safetensors"), Path("input"), Path("out/converted.safetensors")
CALIBRATION, RECALIBRATION, QUANTIZERS = Path("calibration"), Path("recalibration"), Path("quantizers")


class Small(nn.Module):
    """Parameters and buffers of each kind that loading treats in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(2)
        self.attention_biases = nn.Parameter(torch.zeros(1, 4))
        self.register_buffer("attention_bias_idxs", torch.zeros(2, dtype=torch.int64))


@pytest.fixture(scope="module")
def contents(scratch):
    """Bytes of a valid file of each kind."""
    INPUT.write_text("some")
    graph_module = trace(TinyHybrid().eval(), torch.zeros(2, 3, 16, 16))
    sites, outputs = find_sites(graph_module)[:3], find_output_sites(graph_module)[:2]
    collector = OutputCollector(outputs, 2, seed=0)
    statistics = capture(graph_module, sites, torch.randn(4, 3, 16, 16).split(2), 2, seed=0, collectors=[collector])
    save_statistics(CALIBRATION, statistics, RECORD, collector.statistics())
    rows = {name: entry.read_rows for name, entry in statistics.items()}
    block = BlockStatistics([torch.ones(2, 3), 2], torch.ones(2, 3))
    save_recalibration(RECALIBRATION, Recalibration(rows, {"a": in_memory(block)}), RECORD)
    tensor, channel = UniformQuantizer(4, "symmetric", torch.tensor(0.5), torch.tensor(0.0)), torch.ones(3)
    quantizers = {
        "conv": {"input": UniformQuantizer(6, "asymmetric", channel, channel, axis=1), "weight": tensor},
        "matmul": {"left": after_softmax(0.5, 6), "right": after_softmax(0.5, 6, AddedTwinUniformQuantizer)},
        "fc": {"input": FloatingPoint(), "weight": RescaledWeightQuantizer(8, "asymmetric", channel, channel, torch.ones(2))},
        "log": {"left": LogQuantizer(4, 1, torch.tensor(1.0)), "right": tensor},
    }
    save_quantizers(QUANTIZERS, quantizers, RECORD, {"fc.bias": channel})
    return {path: path.read_bytes() for path in (CALIBRATION, RECALIBRATION, QUANTIZERS)}


def read(content: bytes, reader: Callable[[Path], Any]) -> Any:
    FILE.write_bytes(content)
    before = listed(Path())
    found = result_or_refusal(partial(reader, FILE), "file.safetensors")
    assert listed(Path()) == before
    return found


@fuzz()
@given(data=st.data())
def test_calibration_is_read_or_refused(contents, data):
    content = data.draw(mutated_tensors(contents[CALIBRATION]))
    found = read(content, load_statistics)
    for entry in found[0].values() if found else ():
        for observed in entry.ranges.values():
            assert len(observed.low) == len(observed.high) == len(observed.of_others()[0][0])
            assert observed.percentile(100)[0].ndim == 0
    check_record(found)
    for output in (read(content, load_output_statistics) or {}).values():
        assert output.sample.ndim == 2


@fuzz(0.5)
@given(data=st.data())
def test_recalibration_is_read_or_refused(contents, data):
    found = read(data.draw(mutated_tensors(contents[RECALIBRATION])), load_recalibration)
    for read_rows in found[0].rows.values() if found else ():
        rows = read_rows()
        assert (rows.importance * rows.gradient).shape == rows.gradient.shape
    check_record(found)


@fuzz()
@given(data=st.data())
def test_quantizers_are_read_or_refused(contents, data):
    content = data.draw(mutated_tensors(contents[QUANTIZERS]))
    found = read(content, load_quantizers)
    for operands in found[0].values() if found else ():
        for quantizer in operands.values():
            quantizer.describe()
            if isinstance(quantizer, UniformQuantizer | TwinUniformQuantizer | LogQuantizer) and getattr(quantizer, "axis", None) is None:
                assert quantizer.fake_quantize(torch.rand(2, 3)).shape == (2, 3)
    check_record(found)
    assert all(isinstance(value, Tensor) for value in (read(content, load_parameters) or {}).values())


def check_record(found: tuple[Any, Any] | None) -> None:
    """Take from a provenance what commands take from it."""
    record = found[1] if found else {}
    for part in (record, record.get("calibrated", {})):
        assert all(isinstance(value, str) for value in part.get("inputs", {}).values())
        part.get("settings", {}).get("seed")


@fuzz(0.4)
@given(data=st.data())
def test_shards_are_read_or_refused(contents, data):
    logits, labels = [torch.randn(2, 4)] * 2, torch.tensor([0, 1])
    for number in (1, 2):
        save_shard(Path(f"shard{number}"), Predictions(logits, labels, "cpu"), number, 2, [INPUT], {})
    Path("shard1").write_bytes(data.draw(mutated_tensors(Path("shard1").read_bytes())))
    merged = result_or_refusal(lambda: merge_shards([Path("shard1"), Path("shard2")], [INPUT], {}), "shard1", "shard2")
    for found in merged.logits if merged else ():
        assert found.shape == (len(merged.labels), 4)


@fuzz(0.3)
@given(data=st.data())
def test_logits_are_read_or_refused(contents, data):
    labels = torch.zeros(3, dtype=torch.int64)
    save_reference(OUTPUT, Predictions([torch.randn(3, 4)], labels, "cpu"), [INPUT], {})
    content = OUTPUT.read_bytes()
    found = read(data.draw(mutated_tensors(content)), lambda path: read_reference(path, torch.randn(3, 4), labels, [INPUT], {}))
    assert found is None or mean_kl(found, torch.randn(3, 4)) >= 0


@fuzz(0.8)
@given(data=st.data())
def test_weights_are_loaded_or_refused(contents, data):
    small = Small()
    if read(data.draw(mutated_tensors(save(small.state_dict()))), lambda path: load_weights(small, path) or True):
        assert all(bool(value.isfinite().all()) for value in small.parameters())


@st.composite
def mutated_checkpoint(draw: st.DrawFn) -> bytes:
    """A PyTorch checkpoint with other values, or with changed bytes."""
    state = {"module.a": torch.ones(2), "module.b": torch.ones(1, dtype=torch.float16)}
    odd = [*ODD_TENSORS, *ODD_VALUES, torch.ones(2).to_sparse(), torch.ones(2, dtype=torch.complex32), torch.empty(2, device="meta")]
    names = st.sampled_from(["module.a", "a", "", "__metadata__", "é\n", "epoch", 3])
    changed = draw(st.dictionaries(names, st.sampled_from(odd), max_size=2))
    content = draw(st.sampled_from([{"state_dict": state | changed}, state | changed, {"model": changed} | state, changed]))
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=draw(st.booleans()))
    return draw(mutated_bytes(buffer.getvalue())) if draw(st.booleans()) else buffer.getvalue()


@fuzz(0.4)
@given(content=mutated_checkpoint())
def test_checkpoint_is_converted_or_refused(contents, content):
    OUTPUT.parent.mkdir(exist_ok=True)
    if read(content, lambda path: convert_checkpoint(path, Path("converted.safetensors"))):
        load(Path("converted.safetensors").read_bytes())
    Path("converted.safetensors").unlink(missing_ok=True)


def tuning() -> tuple[dict[str, Tensor], torch.optim.Adam, torch.optim.lr_scheduler.LRScheduler]:
    """Learnt values of a tuning after one step, with its optimizer and schedule."""
    learnt = {"a.scale": nn.Parameter(torch.ones(2)), "b": nn.Parameter(torch.ones(()))}
    optimizer = torch.optim.Adam([{"params": [value], "lr": 0.1} for value in learnt.values()])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4)
    sum(value.sum() for value in learnt.values()).backward()
    optimizer.step()
    schedule.step()
    return learnt, optimizer, schedule


@fuzz(0.8)
@given(data=st.data())
def test_unfinished_tuning_continues_or_is_refused(contents, data):
    learnt, optimizer, schedule = tuning()
    Checkpoint(FILE, "key").save(
        Progress(1, 0.5, 0.5, 0.5, 0, {name: value.detach().clone() for name, value in learnt.items()}), learnt, optimizer, schedule
    )
    content = data.draw(mutated_tensors(FILE.read_bytes()))
    progress = read(content, lambda path: Checkpoint(path, "key").restore(learnt, optimizer, schedule))
    if progress is not None:
        assert type(progress.step) is int
        assert progress.least >= 0
        optimizer.step()
        schedule.step()
