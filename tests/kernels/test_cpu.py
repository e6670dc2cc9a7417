"""The compiled steps of a CPU against the same in plain torch, for each kind of CPU that this one can be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sertoolkit.gru import BiGRU, set_precision
from sertoolkit.kernels import cpu

ROOT = Path(__file__).parents[2]
NOT_COMPILED = (
    "not compiled: no C++ compiler was found when the toolkit was installed, or the CPU is of another kind"
)


def use(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the steps compiled for some instructions be the ones that run."""
    if instructions not in cpu.known_instructions():
        pytest.skip(f"this CPU knows {' '.join(cpu.known_instructions())} only")
    library = cpu.load(instructions)
    if library is None:
        pytest.skip(NOT_COMPILED)
    monkeypatch.setattr(cpu, "library", lambda dtype: library)


@pytest.fixture(params=cpu.INSTRUCTIONS)
def instructions(request, monkeypatch) -> str:
    use(request.param, monkeypatch)
    return request.param


@pytest.fixture
def amx() -> None:
    if cpu.library(torch.bfloat16) is None:
        pytest.skip("this CPU has no matrix units (AMX), or the compiler knew none")


@pytest.fixture(params=[*cpu.INSTRUCTIONS, "amx"])
def dtype(request, monkeypatch) -> torch.dtype:
    """What the steps that run compute in: bfloat16 on matrix units, else float32."""
    if request.param == "amx":
        request.getfixturevalue("amx")
        return torch.bfloat16
    use(request.param, monkeypatch)
    return torch.float32


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(1)


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


class Both(nn.Module):
    """Frames and their mean, as heads and encoders take them."""

    def __init__(self, network: BiGRU) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        return self.network(x, lengths).sum((-3, -2)) + 10 * self.network.mean(x, lengths).sum(-2)


def values_and_gradients(
    module: nn.Module, stacked: dict[str, Tensor], x: Tensor, lengths: Tensor
) -> list[Tensor]:
    out = torch.func.functional_call(module, stacked, (x, lengths))
    target = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return [out, *torch.autograd.grad((out * target).sum(), [x, *stacked.values()])]


def test_a_compiler_that_is_there_was_used() -> None:
    if shutil.which("g++") is None:
        pytest.skip("no g++ here")
    assert cpu.library(torch.float32) is not None
    knows = ["g++", "-mamx-bf16", "-mavx512bf16", "-E", "-x", "c++", os.devnull]
    if sys.platform == "linux" and not subprocess.run(knows, capture_output=True).returncode:
        assert cpu.load("amx") is not None


def test_without_a_compiler_the_toolkit_is_installed_all_the_same(tmp_path) -> None:
    pytest.importorskip("setuptools", reason="this environment builds nothing: it has no setuptools")
    build = [
        sys.executable,
        "setup.py",
        "build_ext",
        "--build-temp",
        tmp_path / "temp",
        "--build-lib",
        tmp_path / "lib",
    ]
    env = {**os.environ, "CC": "no-such-compiler", "CXX": "no-such-compiler"}
    done = subprocess.run(build, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert "no-such-compiler" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.parametrize("threads", [1, 7], indirect=True)
@pytest.mark.parametrize("units", [1, 7, 24, 50, 96])
@pytest.mark.parametrize(
    "lengths", [[[4] * 9], [[5, 3, 0, 1, 2]], [[5, 3, 2], [2, 7, 0], [0, 0, 0]], [list(range(1, 40))]]
)
def test_values_and_gradients_are_those_of_plain_torch(
    lengths, units, threads, instructions, monkeypatch
) -> None:
    lengths = torch.tensor(lengths)
    members, batch = lengths.shape
    module = Both(BiGRU(5, units, 2))
    shapes = {name: value.shape for name, value in module.named_parameters()}
    stacked = {
        name: (torch.randn(members, *shape, dtype=torch.float64) * units**-0.5).requires_grad_()
        for name, shape in shapes.items()
    }
    x = torch.randn(members, batch, int(lengths.max()) + 2, 5, dtype=torch.float64, requires_grad=True)
    found = values_and_gradients(module, stacked, x, lengths)
    with monkeypatch.context() as plain:
        plain.setattr(cpu, "applies", lambda *_: False)
        expected = values_and_gradients(module, stacked, x, lengths)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-11)


def test_small_values_keep_their_digits(dtype) -> None:
    network = BiGRU(5, 24)
    for name, value in network.named_parameters():
        if name.split(".")[-1].startswith("bias"):
            nn.init.zeros_(value)
    x, lengths = torch.randn(4, 9, 5) * 1e-6, torch.tensor([9, 9, 3, 1], dtype=torch.int32)
    set_precision(network, dtype)
    found = network(x, lengths)
    set_precision(network, torch.float64)
    exact = network(x, lengths)
    tolerance = {torch.float32: 1e-6, torch.bfloat16: 0.02}[dtype]
    assert float(((found - exact).abs().max() / exact.abs().max()).detach()) < tolerance


def test_single_precision_is_as_near_to_double_as_plain_torch(instructions, monkeypatch) -> None:
    lengths = torch.randint(1, 120, (1, 32))
    module = Both(BiGRU(5, 96, 1))
    stacked = {name: value[None].detach().requires_grad_() for name, value in module.named_parameters()}
    x = torch.randn(1, 32, 120, 5, requires_grad=True)

    def errors(compiled: bool) -> list[float]:
        with monkeypatch.context() as chosen:
            if not compiled:
                chosen.setattr(cpu, "applies", lambda *_: False)
            found = values_and_gradients(module, stacked, x, lengths)
        return [
            float((value.detach() - true).abs().max() / true.abs().max())
            for value, true in zip(found, exact, strict=True)
        ]

    double = {name: value.detach().double().requires_grad_() for name, value in stacked.items()}
    exact = values_and_gradients(module, double, x.detach().double().requires_grad_(), lengths)
    exact = [value.detach() for value in exact]
    for ours, plain in zip(errors(True), errors(False), strict=True):
        assert ours < max(5 * plain, 2e-6)


def steps(lengths: list[int], gates: list[Tensor], weight: Tensor, bias: Tensor) -> list[Tensor]:
    """States of each utterance, (2H,) a frame, from what its input gives to the gates, (2, frames, 3H)."""
    counts = [sum(length > t for length in lengths) for t in range(max(lengths))]
    offsets = torch.tensor([0, *counts]).cumsum(0)[:-1]
    rows = [offsets[:length] + place for place, length in enumerate(lengths)]
    packed = torch.full((1, 2, sum(lengths), 4 * weight.shape[3]), float("nan"), dtype=weight.dtype)
    for at, own in zip(rows, gates, strict=True):
        packed[0, :, at, : own.shape[2]] = own
    out = cpu.run_steps(packed, weight, bias, offsets, torch.tensor([lengths]))
    return [out[0, at] for at in rows]


@pytest.mark.parametrize("threads", [1, 7], indirect=True)
def test_an_utterance_gets_the_same_bits_whatever_stands_beside_it(threads, dtype) -> None:
    lengths = [*range(60, 20, -2), 12, 12, 11, 9, 4, 3, 1]
    weight, bias = (torch.randn(1, 2, 72, 24) * 0.2).to(dtype), torch.randn(1, 2, 96).to(dtype)
    gates = [torch.randn(2, length, 72).to(dtype) for length in lengths]
    together = steps(lengths, gates, weight, bias)
    for place, length in enumerate(lengths):
        (alone,) = steps([length], [gates[place]], weight, bias)
        assert torch.equal(together[place], alone)


def test_gates_that_are_full_stay_finite_and_what_is_no_number_stays_none(dtype) -> None:
    weight, bias = torch.randn(1, 2, 15, 5).to(dtype), torch.zeros(1, 2, 20, dtype=dtype)
    full = torch.full((2, 3, 15), 1e30, dtype=dtype)
    (states,) = steps([3], [full], weight, bias)
    assert torch.equal(states, torch.zeros(3, 10, dtype=dtype))  # an update gate of 1 keeps the first state
    full[:, :, 5:10] = -1e30
    (states,) = steps([3], [full], weight, bias)
    assert torch.equal(states, torch.ones(3, 10, dtype=dtype))
    full[0, 1, 0] = float("nan")
    (states,) = steps([3], [full], weight, bias)
    assert not states[0, :5].isnan().any()
    assert states[1, 0].isnan()
    assert states[2, :5].isnan().all()
    assert not states[:, 5:].isnan().any()


@pytest.mark.parametrize("threads", [1, 7], indirect=True)
@pytest.mark.parametrize("units", [3, 24, 50, 96])
@pytest.mark.parametrize(
    "lengths", [[[4] * 9], [[5, 3, 0, 1, 2]], [[5, 3, 2], [2, 7, 0], [0, 0, 0]], [list(range(1, 70))]]
)
def test_bfloat16_is_as_near_to_double_as_plain_torch(lengths, units, threads, amx, monkeypatch) -> None:
    lengths = torch.tensor(lengths)
    members, batch = lengths.shape
    module = Both(BiGRU(5, units, 2))
    stacked = {
        name: (torch.randn(members, *value.shape) * units**-0.5).requires_grad_()
        for name, value in module.named_parameters()
    }
    x = torch.randn(members, batch, int(lengths.max()) + 2, 5, requires_grad=True)

    def run(precision: torch.dtype) -> list[Tensor]:
        set_precision(module, precision)
        return [value.detach().double() for value in values_and_gradients(module, stacked, x, lengths)]

    def errors(found: list[Tensor]) -> list[float]:
        return [float((value - true).norm() / true.norm()) for value, true in zip(found, exact, strict=True)]

    exact, ours = run(torch.float64), run(torch.bfloat16)
    with monkeypatch.context() as plain:
        plain.setattr(cpu, "applies", lambda *_: False)
        theirs = run(torch.bfloat16)
    assert sum(errors(ours)) < 1.5 * sum(errors(theirs))
    # the gradient of a single unit's few weights is off by whatever its rounding happens to be
    assert all(our < 5 * their + 0.03 for our, their in zip(errors(ours), errors(theirs), strict=True))


def test_a_step_in_bfloat16_is_off_by_little_more_than_its_rounding(amx) -> None:
    weight, bias = torch.randn(1, 2, 72, 24).bfloat16(), torch.randn(1, 2, 96).bfloat16()
    gates = [(3 * torch.randn(2, 1, 72)).bfloat16() for _ in range(100)]
    found = steps([1] * 100, gates, weight, bias)
    exact = steps([1] * 100, [x.double() for x in gates], weight.double(), bias.double())
    for ours, true in zip(found, exact, strict=True):
        assert (
            float((ours.double() - true).abs().max()) < 2**-9 + 2e-4
        )  # half a unit in the last place below 1


def test_what_is_remembered_for_long_keeps_its_gradient_in_bfloat16(amx, monkeypatch) -> None:
    """Update gates near 1, where bfloat16 has no digits for what lacks to 1."""
    network, target = BiGRU(13, 32), torch.randn(8, 64)
    for gru in (network.forwards[0], network.backwards[0]):
        gru.bias_ih_l0.data[32:64] += 5
    x, lengths = torch.randn(8, 1000, 13, requires_grad=True), torch.full((8,), 1000)

    def run(precision: torch.dtype) -> list[Tensor]:
        set_precision(network, precision)
        y = network(x, lengths)
        last = torch.cat([y[:, -1, :32], y[:, 0, 32:]], 1)
        return [last.detach().double(), *torch.autograd.grad((last * target).sum(), [x])]

    exact, ours = run(torch.float64), run(torch.bfloat16)
    with monkeypatch.context() as plain:
        plain.setattr(cpu, "applies", lambda *_: False)
        theirs = run(torch.bfloat16)
    for true, our, their in zip(exact, ours, theirs, strict=True):
        assert (our - true).norm() < 0.02 * true.norm()
        assert (our - true).norm() < (their - true).norm() / 3


def test_torch_and_the_steps_use_the_matrix_units_in_turn(amx) -> None:
    x, y = torch.randn(64, 96).bfloat16(), torch.randn(96, 64).bfloat16()
    expected = x.float() @ y.float()
    network, lengths = BiGRU(8, 33), torch.tensor([5, 3])
    set_precision(network, torch.bfloat16)
    first = network(z := torch.randn(2, 5, 8), lengths)
    for _ in range(3):
        torch.testing.assert_close((x @ y).float(), expected, rtol=0.01, atol=0.1)
        again = network(z, lengths)
        assert torch.equal(again, first)
        again.sum().backward()


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_memory_that_lacks_is_an_error_and_not_the_end(name) -> None:
    if cpu.library(getattr(torch, name)) is None:
        pytest.skip(NOT_COMPILED)
    limited = """
import resource, sys, torch
from sertoolkit.errors import SertoolkitError
from sertoolkit.kernels import cpu

def run(units):
    gates, weight, bias = (torch.zeros(1, 2, *shape, dtype=getattr(torch, sys.argv[1]))
                           for shape in ((1, 4 * units), (3 * units, units), (4 * units,)))
    yield
    yield cpu.run_steps(gates, weight, bias, torch.tensor([0]), torch.tensor([[1]]))

list(run(8))
large = run(2000)
next(large)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**21, resource.RLIM_INFINITY))
try:
    next(large)
except SertoolkitError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", limited, name], capture_output=True, text=True)
    assert "not enough memory for the steps" in done.stdout, done.stderr


@pytest.mark.parametrize("changed", ["cpu.cpp", "cpu.hpp"])
def test_steps_of_another_source_are_left_alone(changed, tmp_path, monkeypatch) -> None:
    if cpu.library(torch.float32) is None:
        pytest.skip(NOT_COMPILED)
    for file in [*cpu.FOLDER.glob("_cpu_*"), *cpu.FOLDER.glob("*.[ch]pp")]:
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(cpu, "FOLDER", tmp_path)
    assert cpu.library.__wrapped__(torch.float32) is not None
    with (tmp_path / changed).open("a") as file:
        file.write("// changed\n")
    assert cpu.library.__wrapped__(torch.float32) is None
    amx = cpu.library.__wrapped__(torch.bfloat16)
    assert (amx is None) is (changed == "cpu.hpp" or cpu.library(torch.bfloat16) is None)


def test_steps_that_do_not_load_are_left_alone(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(cpu, "FOLDER", tmp_path)
    assert cpu.library.__wrapped__(torch.float32) is None
    for instructions in (*cpu.INSTRUCTIONS, "amx"):
        name = f"_cpu_{instructions}{cpu.sysconfig.get_config_var('EXT_SUFFIX')}"
        (tmp_path / name).write_bytes(b"\x7fELF")
    for dtype in (torch.float32, torch.bfloat16):
        assert cpu.library.__wrapped__(dtype) is None


def test_other_types_and_devices_are_left_to_torch() -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        assert cpu.applies(torch.device("cpu"), dtype) is (cpu.library(dtype) is not None)
        assert not cpu.applies(torch.device("meta"), dtype)
    assert not cpu.applies(torch.device("cpu"), torch.float16)
