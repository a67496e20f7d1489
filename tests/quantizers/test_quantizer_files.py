from dataclasses import fields

import torch
from safetensors import safe_open

from qhyvit.quantizers.floating_point import FloatingPoint
from qhyvit.quantizers.logarithmic import LogQuantizer
from qhyvit.quantizers.power_of_two import power_of_two_factor
from qhyvit.quantizers.rescaled import RescaledWeightQuantizer
from qhyvit.quantizers.serialization import KINDS, load_quantizers, save_quantizers
from qhyvit.quantizers.twin import GELU_MINIMUM, AddedTwinUniformQuantizer, after_activation, after_softmax
from qhyvit.quantizers.uniform import UniformQuantizer


def every_kind():
    channel = UniformQuantizer(6, "asymmetric", torch.rand(3), torch.tensor([1.0, 2.0, 3.0]), axis=1)
    tensor = UniformQuantizer(4, "symmetric", torch.tensor(0.5), torch.tensor(0.0))
    factor = power_of_two_factor(torch.rand(5, 3), torch.tensor(-1.0), torch.tensor(1.0), bits=8, axis=-1)
    rescaled = RescaledWeightQuantizer(8, "asymmetric", torch.rand(4), torch.ones(4), torch.rand(3))
    return {
        "stem.conv": {"input": channel, "weight": tensor},
        "attn.matmul1": {"left": after_softmax(2.0**-7, 6), "right": tensor},
        "attn.matmul3": {"left": after_softmax(2.0**-7, 6, AddedTwinUniformQuantizer), "right": tensor},
        "attn.matmul2": {"left": LogQuantizer(4, 1, torch.tensor(1.0)), "right": LogQuantizer(4, 2, torch.tensor(0.9))},
        "head": {"input": FloatingPoint(), "weight": tensor},
        "mlp.fc1": {"input": channel, "weight": rescaled},
        "mlp/fc2": {"input": after_activation(GELU_MINIMUM, torch.tensor(0.1), 8), "weight": factor},
    }


def test_every_kind_is_in_these_tests():
    assert {type(quantizer) for operands in every_kind().values() for quantizer in operands.values()} == set(KINDS.values())


def flat(quantizer):
    """Kind and fields, with tensors as lists."""
    values = [getattr(quantizer, field.name) for field in fields(quantizer)]
    return type(quantizer), [value.tolist() if isinstance(value, torch.Tensor) else value for value in values]


def test_quantizers_survive_the_file_and_the_bytes_repeat(tmp_path):
    quantizers = every_kind()
    for name in ("one", "two"):
        save_quantizers(tmp_path / name, quantizers, {"commit": "abc"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded, record = load_quantizers(tmp_path / "one")
    assert record == {"commit": "abc"}
    assert {site: set(operands) for site, operands in loaded.items()} == {site: set(operands) for site, operands in quantizers.items()}
    for site, operands in quantizers.items():
        for operand, quantizer in operands.items():
            assert flat(loaded[site][operand]) == flat(quantizer)


def test_the_bytes_are_the_same_after_a_round_trip(tmp_path):
    save_quantizers(tmp_path / "one", every_kind(), {"commit": "abc"})
    save_quantizers(tmp_path / "two", *load_quantizers(tmp_path / "one"))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_tensors_are_named_by_site_operand_and_field(tmp_path):
    save_quantizers(
        tmp_path / "file", {"attn": {"left": after_softmax(0.5, 4)}, "fc": {"input": LogQuantizer(4, 2, torch.tensor(1.0))}}, {}
    )
    with safe_open(tmp_path / "file", framework="pt") as file:
        assert set(file.keys()) == {"attn/left/low_scale", "attn/left/high_scale", "fc/input/delta"}
