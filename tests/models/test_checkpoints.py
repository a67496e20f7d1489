"""Checkpoints as training code writes them, with averaged weights, prefixes, tied weights, and what is no state dict."""

import argparse
import pickle

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from qhyvit.errors import InputError
from qhyvit.models.checkpoints import convert_checkpoint


@pytest.fixture
def convert(tmp_path):
    """Save a checkpoint, convert it, and return the sentence and the tensors."""

    def convert(content):
        torch.save(content, tmp_path / "net.pth")
        return convert_checkpoint(tmp_path / "net.pth", tmp_path / "net.safetensors"), load_file(tmp_path / "net.safetensors")

    return convert


def of(number):
    return {"w": torch.tensor([float(number)])}


@pytest.mark.parametrize(
    ("content", "taken", "sentence"),
    [
        ({"state_dict": of(1)}, 1, "1 tensors of state_dict"),
        ({"model": of(1), "epoch": 3, "optimizer": {"lr": 0.1}}, 1, "1 tensors of model, without epoch, optimizer"),
        ({"model": of(1), "model_ema": of(2)}, 2, "1 tensors of model_ema, without model"),
        ({"state_dict": of(1), "state_dict_ema": of(2)}, 2, "1 tensors of state_dict_ema, without state_dict"),
        ({"state_dict": of(1), "state_dict_ema": None}, 1, "1 tensors of state_dict, without state_dict_ema"),
        (of(1) | {"epoch": 3, "arch": "net", "best": 0.5}, 1, "1 tensors of the checkpoint, without epoch, arch, best"),
    ],
)
def test_state_dict_is_found_and_named(convert, content, taken, sentence):
    said, tensors = convert(content)
    assert (said, tensors["w"].item(), len(tensors)) == (sentence, taken, 1)


def test_arguments_of_a_training_script_are_left_out(convert):
    content = {"state_dict": of(1), "args": argparse.Namespace(lr=0.1, model="net")}
    assert convert(content)[0] == "1 tensors of state_dict, without args"


def test_tied_weights_are_written_twice(convert):
    tied = torch.arange(6.0).view(2, 3)
    _, tensors = convert({"a.weight": tied, "b.weight": tied, "c": tied[:, 0], "d": tied.t()})
    assert torch.equal(tensors["a.weight"], tied)
    assert torch.equal(tensors["b.weight"], tied)
    assert torch.equal(tensors["c"], tied[:, 0])
    assert torch.equal(tensors["d"], tied.t())


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_prefixes_of_wrappers_are_removed(convert, prefix):
    assert convert({f"{prefix}conv.weight": torch.ones(1)})[1].keys() == {"conv.weight"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": of(1) | {"n": 3}}, "'n' is of type int, no named tensor; save the state dict of the network alone"),
        ({"state_dict": of(1) | {"n": [torch.ones(1)]}}, "'n' is of type list, no named tensor"),
        (of(1) | {"optimizer": {"lr": 0.1}}, "'optimizer' is of type dict, no named tensor"),
        ({0: torch.ones(1)}, "0 is of type Tensor, no named tensor"),
        ([torch.ones(1)], "is of type list, no state dict"),
        (torch.ones(1), "is of type Tensor, no state dict"),
        ({"epoch": 3}, "holds no tensors; save the state dict"),
        ({"model": {}}, "holds no tensors"),
        ({"w": torch.ones(1), "module.w": torch.zeros(1)}, "has a name with and without the prefix of a wrapper"),
        ({"w": torch.eye(2).to_sparse()}, "'w' is a sparse, quantized or nested tensor, not a dense one"),
        ({"w": torch.nested.nested_tensor([torch.ones(1)], layout=torch.jagged)}, "'w' is a sparse, quantized or nested tensor"),
        ({"w": torch.ones(2, device="meta")}, r"'w' is a tensor without values \(device meta\)"),
        ({"w": torch.ones(1, dtype=torch.complex128)}, "'w' is a tensor of complex128, a type that safetensors does not have"),
        ({"w": torch.ones(1).expand(10**12)}, "'w' is an expanded tensor of 4,000,000,000,000 bytes, more than the checkpoint holds"),
        ({"\ud800": torch.ones(1)}, r"'\\ud800' is a name that safetensors cannot have"),
        ({"__metadata__": torch.ones(1)}, "'__metadata__' is a name that safetensors cannot have"),
        ({"params": of(1)}, r"'params' is of type dict, no named tensor; .* looked for \(state_dict_ema, model_ema, state_dict, model\)"),
    ],
)
def test_checkpoint_without_a_plain_state_dict_is_refused(convert, tmp_path, content, message):
    with pytest.raises(InputError, match=rf"net\.pth: {message}") as error:
        convert(content)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "net.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file; correct the path$"),
        (b"", r"cannot be opened safely \(it is empty\); save its state dict"),
        (
            pickle.dumps(nn.Linear(1, 1), protocol=2),
            r"cannot be opened safely \(UnpicklingError: Unsupported global: GLOBAL [^\x1b]*default\.\);",
        ),
    ],
    ids=["missing", "empty", "module"],
)
def test_file_that_is_no_checkpoint_is_named_with_the_reason(tmp_path, content, message):
    if content is not None:
        (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(InputError, match=rf"net\.pth: {message}"):
        convert_checkpoint(tmp_path / "net.pth", tmp_path / "net.safetensors")


def test_a_checkpoint_becomes_safetensors(tmp_path):
    torch.save({"epoch": 3, "state_dict": {"module.w": torch.arange(6.0).view(2, 3).t()}}, tmp_path / "net.pth.tar")
    convert_checkpoint(tmp_path / "net.pth.tar", tmp_path / "net.safetensors")
    assert torch.equal(load_file(tmp_path / "net.safetensors")["w"], torch.arange(6.0).view(2, 3).t())


class Trap:
    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_checkpoint_with_code_in_it_is_not_opened(tmp_path, monkeypatch, save):
    monkeypatch.chdir(tmp_path)
    save({"state_dict": {"w": torch.ones(1)}, "args": Trap()}, tmp_path / "net.pth.tar")
    with pytest.raises(InputError, match=r"net\.pth\.tar: cannot be opened safely"):
        convert_checkpoint(tmp_path / "net.pth.tar", tmp_path / "net.safetensors")
    assert not (tmp_path / "trap-was-sprung").exists()
    assert not (tmp_path / "net.safetensors").exists()
