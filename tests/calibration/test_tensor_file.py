"""Tensors in a temporary file."""

import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from tempfile import gettempdir

import pytest
import torch

from qhyvit.calibration.tensor_file import TensorFile
from qhyvit.errors import UnwritableError

TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]
MEMORY = """
import resource
import torch
from qhyvit.calibration.tensor_file import TensorFile
torch.zeros(2**22).square()  # one tensor and its square
file, peak = TensorFile(), lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reads, before = [], peak()
for number in range(40):  # of 16 MiB each
    reads.append(file.write(torch.full((2**22,), number)))
assert all(bool((read() == number).all()) for number, read in enumerate(reads))
print((peak() - before) // 1024)
"""


def test_tensors_are_read_as_they_were_written():
    torch.manual_seed(0)
    tensors = [torch.randn(shape).mul(9).to(kind) for kind in TYPES for shape in ((), (3,), (0, 4), (2, 3, 5))]
    tensors += [torch.randn(4, 6).T, torch.ones(()).expand(2, 3), torch.tensor([float("nan"), -0.0])]
    expected, file = [tensor.clone() for tensor in tensors], TensorFile()
    reads = [file.write(tensor) for tensor in tensors]
    for tensor in tensors[:-2]:
        tensor.zero_()  # the file has the values at the time
    with ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            found = list(pool.map(lambda read: read(), reads))
            assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def test_what_is_read_can_be_changed():
    read = TensorFile().write(torch.ones(3))
    read().zero_()
    assert read().tolist() == [1, 1, 1]


def test_tensors_in_the_file_take_no_memory():
    found = subprocess.run(
        [sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert int(found.stdout) < 200  # MiB, of 640 in the file


def test_full_disk_is_an_error_of_the_temporary_folder():
    kept, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = TensorFile()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, kept[1]))
    try:
        with pytest.raises(UnwritableError) as raised:
            file.write(torch.zeros(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(raised.value).startswith(f"{gettempdir()}: cannot be written (")
