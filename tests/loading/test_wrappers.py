"""Networks in wrappers, with pruning masks, and programs that are none any more."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import taut
from taut.errors import ArgumentError
from taut.networks.copies import copy_module

torch = pytest.importorskip("torch")
nn = torch.nn
X = torch.linspace(-1, 1, 64).reshape(4, 16)
Net = Callable[[], "torch.nn.Module"]


def _net() -> "torch.nn.Module":
    return nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 2)).eval()


def _compiled(net: "torch.nn.Module") -> "torch.nn.Module":
    return torch.compile(net, backend="eager")  # type: ignore[no-any-return]


def _inside(net: "torch.nn.Module") -> "torch.nn.Module":
    net[2] = nn.DataParallel(net[2])  # type: ignore[operator, index]
    return net


WRAPS = [lambda net: net, _compiled, nn.DataParallel, _inside]


@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("other", WRAPS)
def test_wrappers_have_no_part_in_the_names(
    wrap: Callable[..., "torch.nn.Module"], other: Callable[..., "torch.nn.Module"], tmp_path: Path
) -> None:
    net = wrap(_net())
    taut.compress(net, tmp_path / "o")
    assert list(taut.load(tmp_path / "o")) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    into = other(_net())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert taut.load(tmp_path / "o", into=into) is into
    state, want = into.state_dict().values(), net.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(state, want, strict=True))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("wrap", WRAPS)
def test_files_saved_from_a_wrapper_load_into_the_network(
    prefix: str, wrap: Callable[..., "torch.nn.Module"], tmp_path: Path
) -> None:
    net = _net()
    torch.save({prefix + n: t for n, t in net.state_dict().items()}, tmp_path / "s.pt")
    taut.compress(tmp_path / "s.pt", tmp_path / "o")
    into = wrap(_net())
    if any(name.startswith(prefix) for name in into.state_dict()):
        taut.load(tmp_path / "o", into=into)
    else:
        with pytest.warns(UserWarning, match="names of . tensors have words of torch.compile"):
            taut.load(tmp_path / "o", into=into)
    with torch.no_grad():
        assert torch.equal(next(iter(into.state_dict().values())), net[0].weight)
    score = lambda module: 1 + float((module(X) - net(X)).abs().max())  # noqa: E731
    found = taut.evaluate(tmp_path / "s.pt", score, original=_net()).model.scores
    assert found is not None and found.metrics[0].value == 1


def test_a_part_that_is_called_module_keeps_its_name(tmp_path: Path) -> None:
    net = nn.ModuleDict({"module": nn.Linear(4, 4), "head": nn.Linear(4, 4)})
    taut.compress(net, tmp_path / "o")
    assert set(taut.load(tmp_path / "o")) == set(net.state_dict())
    other = nn.ModuleDict({"module": nn.Linear(4, 4), "head": nn.Linear(4, 4)})
    taut.load(tmp_path / "o", into=other)
    assert torch.equal(other["module"].weight, net["module"].weight)
    with pytest.raises(ArgumentError, match=r'"head\.weight" is not in the module'):
        taut.load(tmp_path / "o", into=nn.Linear(4, 4))


def _pruned() -> "torch.nn.Module":
    from torch.nn.utils import prune

    net = _net()
    prune.l1_unstructured(net[0], "weight", 0.5)  # type: ignore[operator, index]
    prune.random_unstructured(net[0], "weight", 0.1)  # type: ignore[operator, index]
    prune.l1_unstructured(net[2], "bias", 1)  # type: ignore[operator, index]
    return net


@pytest.mark.parametrize("asked", [{}, {"plan": {"0.weight": "int8"}}, {"bits": 12, "calib": [X]}])
@pytest.mark.parametrize("into", [_net, _pruned])
def test_a_pruning_that_is_not_permanent_yet(
    asked: dict[str, object], into: Net, tmp_path: Path
) -> None:
    net = _pruned()
    done = taut.compress(net, tmp_path / "o", **asked)  # type: ignore[arg-type]
    names = ["0.weight" in taut.load(tmp_path / "o"), "0.weight_mask" in taut.load(tmp_path / "o")]
    assert names == [bool(asked), not asked]  # of bits that stay as they are nothing is left out
    assert any("0.weight, 2.bias: stored as the mask" in note for note in done.notes) is bool(asked)
    found = taut.load(tmp_path / "o", into=into())
    assert torch.allclose(found(X), net(X), atol=0.05)
    assert bool((found[0].weight == 0).sum() > 500)
    if not asked:
        assert torch.equal(found(X), net(X))


def test_analysis_and_plan_name_pruned_weights_as_the_file_does(tmp_path: Path) -> None:
    net = _pruned()
    for calib in (None, [X, X]):
        assert [facts.name for facts in taut.analyze(net, calib).tensors] == [
            "0.bias", "0.weight", "2.weight", "2.bias",
        ]  # fmt: skip
    before = net.state_dict().keys()
    taut.compress(net, tmp_path / "o", plan=taut.plan(net, bits=12), calib=[X, X])
    assert net.state_dict().keys() == before


def _frozen() -> object:
    return torch.jit.freeze(torch.jit.script(_net()))


def _partly_frozen() -> object:
    return nn.Sequential(nn.Linear(16, 64), _frozen())


def _exported() -> object:
    return torch.export.export(_net(), (X,))


@pytest.mark.filterwarnings("ignore")
def test_programs_are_refused_by_name_at_every_door(tmp_path: Path) -> None:
    taut.compress(_net(), tmp_path / "o")
    doors: list[Callable[[object], object]] = [
        lambda m: taut.compress(m, tmp_path / "p"),  # type: ignore[arg-type]
        lambda m: taut.compress(m, tmp_path / "p", bits=4, calib=[X]),  # type: ignore[arg-type]
        lambda m: taut.compress(m, tmp_path / "p", bits=4, train=[(X, X)]),  # type: ignore[arg-type]
        lambda m: taut.analyze(m),  # type: ignore[arg-type]
        lambda m: taut.analyze(m, [X]),  # type: ignore[arg-type]
        lambda m: taut.plan(m, bits=4),  # type: ignore[arg-type]
        lambda m: taut.frontier(m, bits=[4]),  # type: ignore[arg-type]
        lambda m: taut.evaluate(m, lambda _: 1.0),  # type: ignore[arg-type]
        lambda m: taut.evaluate(_net(), lambda _: 1.0, original=m),  # type: ignore[arg-type]
        lambda m: taut.export(tmp_path / "o", tmp_path / "p.onnx", into=m, calib=[X]),  # type: ignore[arg-type]
        lambda m: taut.load(tmp_path / "o", into=m),  # type: ignore[call-overload]
        lambda m: taut.load(tmp_path / "o", into=m, on_demand=True),  # type: ignore[call-overload]
    ]
    for make, kind in (
        (_frozen, "RecursiveScriptModule (is frozen, with 1,152 weights as const|cannot load on)"),
        (_partly_frozen, r'RecursiveScriptModule \("1" of Sequential\) (is frozen|cannot load on)'),
        (_exported, "ExportedProgram is a finished program"),
    ):
        program = make()
        for door in doors:
            with pytest.raises(ArgumentError, match=kind):
                door(program)
    assert not (tmp_path / "p").exists()


def test_a_copy_is_out_of_its_wrappers() -> None:
    net = _inside(_net())
    copy = copy_module(_compiled(net))
    assert [type(part).__name__ for part in copy] == ["Linear", "ReLU", "Linear"]
    assert isinstance(net[2], nn.DataParallel)  # type: ignore[index]
