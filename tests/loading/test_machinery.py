"""Modules on demand given to what takes modules: right answers, or an error that says `into=`."""

import copy
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import taut
from taut.errors import ArgumentError

torch = pytest.importorskip("torch")
nn = torch.nn
Net = torch.nn.Module
X = torch.linspace(-1, 1, 3 * 160).reshape(3, 160).sin()


def _chain() -> Net:
    """As large layers of one shape as have to share a buffer."""
    return nn.Sequential(*(nn.Linear(160, 160) for _ in range(5))).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "torch.Tensor"]:
    net = _chain()
    path = taut.compress(net, tmp_path_factory.mktemp("machinery") / "o").path
    with torch.no_grad():
        return path, net(X)


def _onnx(module: Net, dynamo: bool) -> "torch.Tensor":
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript" if dynamo else "onnx")
    written = io.BytesIO()
    if dynamo:
        program = torch.onnx.export(module, (X,), dynamo=True, verbose=False)
        program.save(written)
    else:
        torch.onnx.export(module, (X,), written, dynamo=False)
    session = ort.InferenceSession(written.getvalue())
    (given,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    return torch.from_numpy(given)


def _made(module: Net) -> "torch.Tensor":
    from torch.fx.experimental.proxy_tensor import make_fx

    return make_fx(module)(X)(X)  # type: ignore[no-any-return]


def _refilled(state: dict[str, "torch.Tensor"]) -> "torch.Tensor":
    other = _chain()
    other.load_state_dict(state)
    return other(X)  # type: ignore[no-any-return]


def _saved_state(module: Net) -> "torch.Tensor":
    held = io.BytesIO()
    torch.save(module.state_dict(), held)
    held.seek(0)
    return _refilled(torch.load(held))


def _kept(module: Net) -> "torch.Tensor":
    """A hook that keeps the weights of every layer."""
    seen: list[torch.Tensor] = []
    for layer in module:  # type: ignore[attr-defined]
        layer.register_forward_hook(lambda part, *_: seen.append(part.weight))
    module(X)
    module(X * 2)
    x = X
    for weight, layer in zip(seen[:5], module, strict=True):  # type: ignore[call-overload]
        x = nn.functional.linear(x, weight, layer.bias)
    return x


class _Mapped(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __init__(self, module: Net) -> None:
        self.module = module

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> "torch.Tensor":
        with torch.no_grad():
            return self.module(X[index])  # type: ignore[no-any-return]


def _in_workers(module: Net) -> "torch.Tensor":
    module(X)
    context = "fork" if hasattr(os, "fork") else None
    loader = torch.utils.data.DataLoader(
        _Mapped(module), num_workers=1, timeout=60, multiprocessing_context=context
    )
    return torch.cat([*loader])


def _pruned(module: Net) -> "torch.Tensor":
    from torch.nn.utils import prune

    prune.identity(module[0], "weight")  # type: ignore[index, no-untyped-call]
    return module(X)  # type: ignore[no-any-return]


def _set(module: Net) -> "torch.Tensor":
    """Other weights in the place of some, for a while and for good."""
    module(X)
    first = module[0]  # type: ignore[index]
    zero = torch.zeros(160, 160)
    with_zero = torch.func.functional_call(module, {"0.weight": zero}, X)
    want = module[1:](first.bias.expand(3, -1))  # type: ignore[index]
    torch.testing.assert_close(with_zero, want)
    first.weight = nn.Parameter(2 * first.weight.detach(), requires_grad=False)
    torch.testing.assert_close(first(X), 2 * X @ (first.weight / 2).T + first.bias)
    first.weight = nn.Parameter(first.weight / 2, requires_grad=False)
    return module(X)  # type: ignore[no-any-return]


def _optimised(module: Net) -> "torch.Tensor":
    torch.optim.SGD(module.parameters(), 1.0).step()  # nothing has a gradient
    return module(X)  # type: ignore[no-any-return]


RIGHT: dict[str, Callable[[Net], "torch.Tensor"]] = {
    "export": lambda m: torch.export.export(m, (X,)).module()(X),
    "onnx": lambda m: _onnx(m, dynamo=True),
    "onnx, traced": lambda m: _onnx(m, dynamo=False),
    "make_fx": _made,
    "symbolic_trace": lambda m: torch.fx.symbolic_trace(m)(X),
    "functional_call": lambda m: torch.func.functional_call(m, {}, X),
    "vmap": lambda m: torch.func.vmap(m)(X),
    "data parallel": lambda m: nn.DataParallel(m)(X),
    "state_dict": lambda m: _refilled(m.state_dict()),
    "a saved state_dict": _saved_state,
    "a hook that keeps weights": _kept,
    "a data loader's workers": _in_workers,
    "an optimiser": _optimised,
    "prune": _pruned,
    "other weights": _set,
    "to where it is": lambda m: m.to("cpu").float()(X),
    "numpy": lambda m: X @ torch.from_numpy(m[0].weight.numpy()).T * 0 + m(X),  # type: ignore[index, operator]
    "a part by itself": lambda m: nn.Sequential(*m.children())(X),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use", RIGHT)
def test_right_answers(use: str, saved: tuple[Path, "torch.Tensor"]) -> None:
    path, want = saved
    module = taut.load(path, into=_chain(), on_demand=True)
    with torch.no_grad():
        found = RIGHT[use](module)
        module(X * 3)  # fills all buffers anew
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
        assert torch.equal(module(X), want)


def _written(module: Net) -> None:
    module[0].weight[0] = 0  # type: ignore[index]


def _stepped(module: Net) -> None:
    for parameter in module.parameters():
        parameter.grad = torch.ones(parameter.shape)
    torch.optim.SGD(module.parameters(), 1.0).step()


REFUSED: dict[str, Callable[[Net], object]] = {
    "export, strict": lambda m: torch.export.export(m, (X,), strict=True),
    "compile": lambda m: torch.compile(m, backend="eager")(X),
    "compile, whole": lambda m: torch.compile(m, backend="eager", fullgraph=True)(X),
    "compile in place": lambda m: (m.compile(backend="eager"), m(X)),  # type: ignore[func-returns-value]
    "trace": lambda m: torch.jit.trace(m, X),
    "script": torch.jit.script,
    "script inside": lambda m: torch.jit.script(nn.Sequential(m)),
    "share_memory": lambda m: m.share_memory(),
    "deepcopy": copy.deepcopy,
    "pickle": pickle.dumps,
    "save": lambda m: torch.save(m, io.BytesIO()),
    "half": lambda m: m.half(),
    "to another type": lambda m: m.to(torch.float64),
    "to another device": lambda m: m.to("meta"),
    "an optimiser's step": _stepped,
    "a weight written": _written,
    "data written": lambda m: m[0].weight.data.zero_(),  # type: ignore[index]
    "data set": lambda m: setattr(m[0].weight, "data", torch.zeros(160, 160)),  # type: ignore[index]
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("use", REFUSED)
def test_refused_by_name(use: str, saved: tuple[Path, "torch.Tensor"]) -> None:
    module = taut.load(saved[0], into=_chain(), on_demand=True)
    with torch.no_grad(), pytest.raises(ArgumentError, match=r"into=module\) without on_demand"):
        REFUSED[use](module)


def test_released_it_is_an_ordinary_module(saved: tuple[Path, "torch.Tensor"]) -> None:
    module = taut.load(saved[0], into=_chain(), on_demand=True).taut.release()
    assert torch.equal(torch.jit.script(module)(X), saved[1])
    assert torch.equal(copy.deepcopy(module)(X), saved[1])
