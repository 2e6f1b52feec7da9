"""Every verb that takes a network leaves it as it was, whether the verb succeeds or fails.

A fingerprint is taken of all that a caller could find changed: which modules of which classes (and
what these classes hold), modes, hooks, attributes, tensors with their memory, values, gradients and
whether they want them; and of the random numbers.
"""

from __future__ import annotations

import contextlib
import random

import numpy as np
import pytest
import rich.style  # noqa: F401  # draws one of Python's random numbers when it is first imported

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils import (  # noqa: E402
    parametrizations,
    parametrize,
    prune,
    spectral_norm,
    weight_norm,
)

import taut  # noqa: E402
from taut.errors import TautError  # noqa: E402

# The old norms are what people have.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


def fingerprint(module: nn.Module) -> dict[str, object]:
    """All of a network that a caller could find changed, by name; tensors by their bytes."""
    found: dict[str, object] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        kind = type(part)
        found[f"{path}: class"] = (
            id(part),
            id(kind),
            sorted(vars(kind).keys() - {"__slotnames__"}),
        )  # what copying notes there
        for name, value in vars(part).items():
            found[f"{path}: {name}"] = _seen(value)
    found["torch's random numbers"] = torch.get_rng_state().numpy().tobytes()
    found["numpy's random numbers"] = repr(np.random.get_state())
    found["Python's random numbers"] = random.getstate()
    found["torch's settings"] = (torch.is_grad_enabled(), torch.get_default_dtype())
    return found


def _seen(value: object) -> object:
    """What a value is, so that it compares: a tensor with its gradient, what holds others."""
    if isinstance(value, torch.Tensor):
        held = value.detach().numpy().tobytes()
        wanted = (value.requires_grad, value.is_leaf, value.dtype, value.stride())
        return (
            id(value),
            value.data_ptr(),
            held,
            *wanted,
            _seen(value.grad if value.is_leaf else None),
        )
    if isinstance(value, dict):
        return [(key, _seen(part)) for key, part in value.items()]
    if isinstance(value, (list, tuple)):
        return [_seen(part) for part in value]
    return (id(value), repr(value) if isinstance(value, (int, float, str, bool)) else "")


@contextlib.contextmanager
def untouched(module: nn.Module):
    """Whatever happens within, the network is as it was, and still runs."""
    before = fingerprint(module)
    try:
        yield
    finally:
        after = fingerprint(module)
        changed = [name for name in before | after if before.get(name) != after.get(name)]
        assert changed == [], f"in the end others: {changed}"


def crowded() -> nn.Module:
    """Parametrisations of all kinds, ties, statistics, and parts in modes of their own."""
    torch.manual_seed(0)
    net = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(8, 32)),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        parametrizations.spectral_norm(nn.Linear(32, 32)),
        parametrizations.orthogonal(nn.Linear(32, 32)),
        weight_norm(nn.Linear(32, 32)),
        spectral_norm(nn.Linear(32, 32)),
        prune.l1_unstructured(nn.Linear(32, 32), "weight", 0.5),
        nn.Dropout(0.5),
        nn.Linear(32, 8),
    )
    net.add_module("again", net[9])
    net.add_module("again", nn.Linear(8, 8))
    net.again.bias = net[9].bias
    net[9].weight.requires_grad_(False)
    net[1].eval()
    net.register_forward_hook(lambda module, given, output: output)
    net(torch.randn(4, 8)).square().mean().backward()
    return net


def small() -> nn.Module:
    """Two layers with norms of both makes, which exporters can follow."""
    with torch.random.fork_rng():
        first, second = nn.Linear(8, 4), nn.Linear(4, 2)
    net = nn.Sequential(parametrizations.weight_norm(first), nn.ReLU(), weight_norm(second))
    net(X[0]).square().mean().backward()
    return net


X = [torch.randn(4, 8, generator=torch.Generator().manual_seed(i)) for i in range(4)]
WORKS = {
    "compress": lambda net, path: taut.compress(net, path / "o"),
    "compress to bits": lambda net, path: taut.compress(net, path / "o", bits=6),
    "compress with calib": lambda net, path: taut.compress(
        net, path / "o", bits=6, calib=X[:2], score=_changing, finish=False
    ),
    "compress with train": lambda net, path: taut.compress(
        net, path / "o", bits=8, train=X, epochs=2
    ),
    "compress with a teacher": lambda net, path: taut.compress(
        net, path / "o", plan={"9.weight": "ternary"}, train=X, epochs=1, teacher=net
    ),
    "analyze": lambda net, path: taut.analyze(net, X),
    "plan": lambda net, path: taut.plan(net, X, bits=4),
    "frontier": lambda net, path: taut.frontier(net, bits=[6], calib=X[:2], finish=False),
    "evaluate": lambda net, path: taut.evaluate(_file(net, path), _score, original=net, calib=X),
    "report": lambda net, path: taut.report(_file(net, path), path / "o.html", original=net),
}


def _file(net, path):
    return taut.compress(net, path / "file").path


def _score(net):
    return float(net(X[0]).square().mean())


def _changing(net):
    """A score that leaves its network another one: classes, modes, values and gradients."""
    found = net(X[0]).square().mean()
    parametrize.remove_parametrizations(net[0], "weight")
    net.train()
    with torch.no_grad():
        net[9].weight.zero_()
    return float(found)


@pytest.mark.parametrize("verb", WORKS)
def test_a_network_is_left_as_it_was(verb, tmp_path):
    net = crowded()
    with untouched(net):
        WORKS[verb](net, tmp_path)
    net(X[0]).sum().backward()


def test_a_network_is_left_as_it_was_by_an_exporter(tmp_path):
    net = small()
    with untouched(net):
        taut.export(_file(net, tmp_path), tmp_path / "o.onnx", into=net, calib=X[:1])
    net(X[0]).sum().backward()


def _fails(*given):
    raise RuntimeError("as the caller's code may")


def _begins(model, loss):
    """A loop that fails after a step."""
    model(X[0])
    loss(None).backward()
    _fails()


FAILS = {
    "loop": lambda net, path: taut.compress(net, path / "o", bits=8, train=_begins),
    "loss": lambda net, path: taut.compress(
        net, path / "o", bits=8, train=list(zip(X, X, strict=True)), loss=_fails
    ),
    "teacher": lambda net, path: taut.compress(net, path / "o", bits=8, train=X, teacher=_fails),
    "size": lambda net, path: taut.compress(net, path / "o", size=9, train=X, epochs=1),
    "second batch": lambda net, path: taut.compress(
        net, path / "o", bits=8, train=[X[0], X[0][:, :3]], epochs=1
    ),
    "calib": lambda net, path: taut.compress(net, path / "o", bits=6, calib=[X[0], X[0][:, :3]]),
    "score": lambda net, path: taut.compress(net, path / "o", bits=6, calib=X, score=_fails),
    "analyze": lambda net, path: taut.analyze(net, [X[0], X[0][:, :3]]),
    "plan": lambda net, path: taut.plan(net, [X[0][:, :3]], bits=4),
    "frontier": lambda net, path: taut.frontier(net, bits=[6], calib=X, score=_fails),
    "evaluate": lambda net, path: taut.evaluate(_file(net, path), _fails, original=net),
    "load": lambda net, path: taut.load(_file(small(), path), into=net),
    "load on demand": lambda net, path: taut.load(_file(small(), path), into=net, on_demand=True),
    "export": lambda net, path: taut.export(
        _file(net, path), path / "o.onnx", into=net, calib=[X[0][:, :3]]
    ),
}


@pytest.mark.parametrize("verb", FAILS)
def test_a_network_is_left_as_it_was_by_what_fails(verb, tmp_path):
    net = crowded()
    with untouched(net), pytest.raises(TautError):
        FAILS[verb](net, tmp_path)
    net(X[0]).sum().backward()


def test_load_changes_values_alone(tmp_path):
    net, other = small(), small()
    with torch.no_grad():
        for one in other.parameters():
            one.mul_(2.0)
    before = {name: one for name, one in fingerprint(net).items() if "class" in name}
    places = [
        (id(one), one.data_ptr(), one.requires_grad, id(one.grad)) for one in net.parameters()
    ]
    taut.load(_file(other, tmp_path), into=net)
    after = {name: one for name, one in fingerprint(net).items() if "class" in name}
    assert after == before
    assert places == [
        (id(one), one.data_ptr(), one.requires_grad, id(one.grad)) for one in net.parameters()
    ]
    assert torch.equal(net(X[0]), other(X[0]))


def test_fingerprints_see_what_changed():
    changes = {
        "0: class": lambda net: parametrize.remove_parametrizations(net[0], "weight"),
        "2: training": lambda net: net[2].eval(),
        "9: _parameters": lambda net: net[9].weight.data.add_(1),
        "1: _buffers": lambda net: net[1].running_mean.fill_(1),
        ": _forward_hooks": lambda net: net.register_forward_hook(_fails),
        "3: seen": lambda net: setattr(net[3], "seen", 1),
        "torch's random numbers": lambda net: torch.rand(1),
    }
    for name, change in changes.items():
        net = crowded()
        with pytest.raises(AssertionError, match="in the end") as caught, untouched(net):
            change(net)
        assert name in str(caught.value)
