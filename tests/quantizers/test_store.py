import torch

from qhyvit.quantizers.store import load_quantizers, save_quantizers
from qhyvit.quantizers.uniform import UniformQuantizer


def test_quantizers_survive_the_file_and_the_bytes_repeat(tmp_path):
    channel = UniformQuantizer(6, "asymmetric", torch.rand(3), torch.tensor([1.0, 2.0, 3.0]), axis=1)
    tensor = UniformQuantizer(4, "symmetric", torch.tensor(0.5), torch.tensor(0.0))
    quantizers = {"stem.conv": {"input": channel, "weight": tensor}, "attn.matmul1": {"left": tensor}}
    for name in ("one", "two"):
        save_quantizers(tmp_path / name, quantizers, {"commit": "abc"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded, record = load_quantizers(tmp_path / "one")
    assert record == {"commit": "abc"}
    assert {site: set(operands) for site, operands in loaded.items()} == {"stem.conv": {"input", "weight"}, "attn.matmul1": {"left"}}
    got = loaded["stem.conv"]["input"]
    assert (got.bits, got.scheme, got.axis) == (6, "asymmetric", 1)
    assert torch.equal(got.scale, channel.scale)
    assert torch.equal(got.zero_point, channel.zero_point)
