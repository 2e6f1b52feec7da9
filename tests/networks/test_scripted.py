"""Scripted and traced networks: what they give, what is seen in them, and what is refused."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import taut
from taut.analysis.curvature import collect
from taut.errors import ArgumentError
from taut.networks.copies import copy_module

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Tokens(nn.Module):  # type: ignore[misc, name-defined]  # torch may be missing
    """Layers that torch runs as one call, lists that hold weights, None, buffers of both kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.e = nn.Embedding(50, 32)
        self.a = nn.TransformerEncoderLayer(32, 2, 64, batch_first=True)
        self.l = nn.LSTM(32, 32, batch_first=True)
        self.head = nn.Linear(32, 50, bias=False)
        self.none = None
        self.register_buffer("kept", torch.full((32,), 0.5))
        self.register_buffer("unsaved", torch.full((32,), 2.0), persistent=False)

    def forward(self, x: torch.Tensor, times: int = 1) -> torch.Tensor:
        h = self.a(self.e(x) + self.kept) * self.unsaved
        if self.none is None:
            h = self.l(h)[0]
        return self.head(h) * times  # type: ignore[no-any-return]


class Images(nn.Module):  # type: ignore[misc, name-defined]
    """Shared weights, one module under two names, a loop that ends early, a dict of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.n = nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32)
        self.t = nn.ConvTranspose2d(32, 16, 3)
        self.one, self.two = nn.Linear(16, 16), nn.Linear(16, 16)
        self.two.weight = self.one.weight
        self.again = self.one

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.t(torch.relu(self.n(self.c(x)))).mean((2, 3))
        found = [y]
        for number in range(int(x.shape[0])):
            if number > 1:
                break
            found.append(self.two(found[-1]).relu())
        return {"logits": self.again(self.one(found[-1])), "features": y}


def _ids() -> list[torch.Tensor]:
    return [*torch.randint(50, (6, 4, 7), generator=torch.Generator().manual_seed(1))]


def _pictures() -> list[torch.Tensor]:
    return [*torch.randn(6, 4, 3, 9, 9, generator=torch.Generator().manual_seed(2))]


def _script(net: nn.Module, _: torch.Tensor) -> Any:
    return torch.jit.script(net)


def _trace(net: nn.Module, x: torch.Tensor) -> Any:
    return torch.jit.trace(net, x, strict=False)


def _read(made: Any) -> Any:
    """Made, written and read again: then its parameters are plain tensors."""

    def make(net: nn.Module, x: torch.Tensor) -> Any:
        held = io.BytesIO()
        torch.jit.save(made(net, x), held)
        held.seek(0)
        return torch.jit.load(held)

    return make


CASES = [
    pytest.param(Tokens, _ids, _script, id="script-tokens"),
    pytest.param(Images, _pictures, _script, id="script-images"),
    pytest.param(Images, _pictures, _trace, id="trace-images"),
    pytest.param(Tokens, _ids, _read(_script), id="read-tokens"),
    pytest.param(Images, _pictures, _read(_trace), id="read-images"),
]
Case = tuple[Callable[[], Any], Callable[[], Any], Callable[..., Any]]


def _made(kind: Any, data: Any, make: Any) -> tuple[Any, Any, list[torch.Tensor]]:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net, batches = kind().eval(), data()
        return net, make(net, batches[0]), batches


def _first(output: Any) -> torch.Tensor:
    found = output["logits"] if isinstance(output, dict) else output
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize(("kind", "data", "make"), CASES)
def test_a_copy_gives_the_same_and_is_seen_as_the_network_is(
    kind: Any, data: Any, make: Any
) -> None:
    net, program, batches = _made(kind, data, make)
    twin = copy_module(program)
    assert not any(isinstance(part, torch.jit.ScriptModule) for part in twin.modules())
    assert torch.equal(_first(twin(batches[1])), _first(net(batches[1])))
    assert twin.state_dict().keys() == program.state_dict().keys()
    ours, theirs = collect(twin, lambda: batches), collect(net, lambda: batches)
    assert ours.keys() == theirs.keys()
    for name, found in ours.items():
        assert np.allclose(found.columns, theirs[name].columns, rtol=1e-4, atol=1e-5), name
        assert np.allclose(found.rows, theirs[name].rows, rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize(("kind", "data", "make"), [CASES[1], CASES[2], CASES[4]])
def test_sharing_stays_in_the_copy(kind: Any, data: Any, make: Any) -> None:
    _, program, _ = _made(kind, data, make)
    twin = copy_module(program)
    assert twin.two.weight is twin.one.weight is twin.again.weight
    assert twin.one.weight is not program.one.weight
    with torch.no_grad():
        twin.one.weight.zero_()
    assert bool((program.one.weight != 0).any())


@pytest.mark.parametrize(("kind", "data", "make"), CASES[:3])
def test_a_program_is_compressed_and_loaded_again(
    kind: Any, data: Any, make: Any, tmp_path: Path
) -> None:
    _, program, batches = _made(kind, data, make)
    want = _first(program(batches[1])).detach()
    taut.compress(program, tmp_path / "exact")
    taut.compress(program, tmp_path / "lossy", bits=8, calib=batches)
    for name, near in (("exact", 0.0), ("lossy", 0.02)):
        _, other, _ = _made(kind, data, make)
        with torch.no_grad():
            for tensor in other.parameters():
                tensor.zero_()
        found = _first(taut.load(tmp_path / name, into=other)(batches[1])).detach()
        assert float((found - want).norm() / want.norm()) <= near


def test_training_reaches_weights_that_a_program_keeps_in_lists(tmp_path: Path) -> None:
    _, program, batches = _made(*(Tokens, _ids, _script))
    done = taut.compress(program, tmp_path / "o", bits=6, train=batches, epochs=1)
    assert not any("l.weight_ih_l0" in note for note in done.notes)


def test_arguments_are_bound_as_the_program_has_them() -> None:
    _, program, batches = _made(*(Tokens, _ids, _script))
    twin, x = copy_module(program), batches[0]
    assert torch.equal(twin(x, times=3), program(x, times=3))
    assert torch.equal(twin(x, 3), program(x, 3))
    for args, named in (((x, 1, 2), {}), ((x,), {"x": x}), ((), {}), ((x,), {"other": 1})):
        with pytest.raises(TypeError):
            twin(*args, **named)


class Odd(nn.Module):  # type: ignore[misc, name-defined]
    """Uses what only TorchScript's own interpreter can run."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        future = torch.jit.fork(self.a, x)
        return torch.jit.wait(future)


def test_what_cannot_be_run_by_operators_is_refused_by_name(tmp_path: Path) -> None:
    program = torch.jit.script(Odd())
    with pytest.raises(ArgumentError, match="ScriptModule of Odd takes prim::fork, which cannot"):
        taut.compress(program, tmp_path / "o", bits=4, calib=[torch.ones(4, 64)])
    assert not (tmp_path / "o").exists()
    taut.compress(program, tmp_path / "o")  # bit-exact, nothing is run


def test_a_program_is_neither_on_demand_nor_cut(tmp_path: Path) -> None:
    program = torch.jit.script(nn.Sequential(nn.Linear(64, 64)))
    taut.compress(program, tmp_path / "o")
    with pytest.raises(ArgumentError, match="ScriptModule cannot load on demand: pass"):
        taut.load(tmp_path / "o", into=program, on_demand=True)
