"""Networks as people have them, trained: what is written is what was trained, and theirs stays."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

import taut  # noqa: E402
from taut.errors import ArgumentError  # noqa: E402

# The old norms are what people have; torch warns of reentrant checkpoints whose inputs are data.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

X = [torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]


def network(forward, **parts: nn.Module | nn.Parameter) -> nn.Module:
    """A module of these parts, that computes what `forward` does of it and the input."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def forward(self, x):
            return forward(self, x)

    return Network()


def layer() -> nn.Linear:
    return nn.Linear(16, 16)


def shared_bias() -> nn.Module:
    net = network(lambda s, x: s.b(s.a(x).relu()), a=layer(), b=layer())
    net.b.bias = net.a.bias
    return net


def two_names() -> nn.Module:
    net = network(lambda s, x: s.again(s.a(x).relu()), a=layer())
    net.again = net.a
    return net


def other_memory(part) -> nn.Module:
    net = network(lambda s, x: s.b(s.a(x).relu()), a=layer(), b=layer())
    net.b.weight = nn.Parameter(part(net.a.weight.data))
    return net


def kept_on_itself() -> nn.Module:
    def forward(s, x):
        s.seen = s.a(x).relu()
        return s.b(s.seen)

    net = network(forward, a=layer(), b=layer())
    net(X[0])
    return net


def old_norms() -> nn.Module:
    net = nn.Sequential(weight_norm(layer()), spectral_norm(layer()))
    for _ in range(20):  # until its vectors are those of its largest singular value
        net(X[0])
    return net


def statistics() -> nn.Module:
    """Two batch norms with one weight and bias, whose inputs are of different sizes."""

    def forward(s, x):
        a = s.a(x).flatten(0, 1)
        return s.b(s.n(a).relu()) + s.b(s.m(3 * a + 1).relu())

    norms = {"n": nn.BatchNorm1d(16), "m": nn.BatchNorm1d(16)}
    norms["m"].weight, norms["m"].bias = norms["n"].weight, norms["n"].bias
    net = network(forward, a=layer(), b=layer(), **norms)
    for _ in range(50):
        net(torch.randn(16, 4, 16))
    return net


def run_again(reentrant: bool) -> nn.Module:
    def forward(s, x):
        return s.b(checkpoint(s.a, x, use_reentrant=reentrant).relu())

    return network(forward, a=layer(), b=layer())


NETWORKS = {
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(layer()), layer()),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(layer()), layer()),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(layer()), layer()),
    "old norms": old_norms,
    "pruned": lambda: nn.Sequential(prune.l1_unstructured(layer(), "weight", 0.5), layer()),
    "lstm": lambda: network(lambda s, x: s.r(x)[0], r=nn.LSTM(16, 16, batch_first=True)),
    "gru": lambda: network(lambda s, x: s.r(x)[0], r=nn.GRU(16, 8, 2, bidirectional=True)),
    "attention": lambda: network(
        lambda s, x: s.m(x, x[..., :8], x[..., 8:])[0],
        m=nn.MultiheadAttention(16, 2, batch_first=True, kdim=8, vdim=8, add_bias_kv=True),
    ),
    "transformer": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(16, 2, 16, dropout=0.0, batch_first=True), 2
    ),
    "lists of parameters": lambda: network(
        lambda s, x: (x @ s.p[0]).relu() @ s.d["a/b"],
        p=nn.ParameterList([torch.randn(16, 16)]),
        d=nn.ParameterDict({"a/b": torch.randn(16, 16)}),
    ),
    "shared bias": shared_bias,
    "two names": two_names,
    "shared memory": lambda: other_memory(lambda weight: weight),
    "shared memory, transposed": lambda: other_memory(lambda weight: weight.t()),
    "kept on itself": kept_on_itself,
    "run again backward": lambda: run_again(False),
    "run again, reentrant": lambda: run_again(True),
}


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_is_written_is_what_was_trained(kind, tmp_path):
    torch.manual_seed(0)
    net = NETWORKS[kind]().eval()
    with torch.no_grad():
        wanted = net(X[0])
    result = taut.compress(net, tmp_path / "o", bits=16, train=X, epochs=1, effort="fast")
    other = NETWORKS[kind]().eval()
    assert not torch.allclose(other(X[0]), wanted, atol=0.01)
    with torch.no_grad():
        found = taut.load(result.path, into=other).eval()(X[0])
        assert float((found - wanted).norm() / wanted.norm()) < 0.2
        assert torch.equal(net(X[0]), wanted)


def test_shared_statistics_are_not_folded(tmp_path):
    torch.manual_seed(0)
    net = statistics().eval()
    plan = {"a.weight": "int8", "b.weight": "int8"}
    result = taut.compress(net, tmp_path / "o", plan=plan, train=X, epochs=1)
    found = taut.load(result.path, into=statistics()).eval()(X[0])
    wanted = net(X[0])
    assert float((found - wanted).norm() / wanted.norm()) < 0.1


def test_masks_change_between_steps_and_not_within_one(tmp_path):
    """A network that is run again in its backward pass must be the one that ran forward."""
    torch.manual_seed(0)
    plan = {"a.weight": "codebook8+50%", "b.weight": "int8"}
    result = taut.compress(run_again(False), tmp_path / "o", plan=plan, train=X, epochs=4)
    values = taut.load(result.path)["a.weight"]
    assert (values == 0).mean() == 0.5


def test_layers_that_are_equal_at_first_go_their_own_ways(tmp_path):
    torch.manual_seed(0)
    net = network(lambda s, x: s.b(s.a(x).relu()), a=layer(), b=layer())
    net.b.load_state_dict(net.a.state_dict())
    result = taut.compress(net, tmp_path / "o", bits=14, train=X, epochs=2, effort="fast")
    found = taut.load(result.path)
    assert (found["a.weight"] != found["b.weight"]).any()


def test_what_shares_memory_in_part_is_rounded_in_one_way_or_refused(tmp_path):
    net = other_memory(lambda weight: weight.t())
    plan = {"a.weight": "int4", "b.weight": "int4"}
    with pytest.raises(ArgumentError, match=r'"a.weight": shares .* "b.weight".* clone\(\)'):
        taut.compress(net, tmp_path / "o", plan=plan, train=X, epochs=1)
    result = taut.compress(net, tmp_path / "o", bits=8, train=X, epochs=2, effort="fast")
    found = taut.load(result.path)
    assert (found["a.weight"] == found["b.weight"].T).all()


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_a_hook_that_fails_is_named_by_its_line(when, tmp_path):
    def fails(*given):
        raise ValueError("as hooks do")

    net = nn.Sequential(layer(), layer())
    if when == "forward":
        calls = []
        net[1].register_forward_hook(lambda *given: fails() if len(calls) > 2 else calls.append(1))
    else:
        net[1].register_full_backward_hook(fails)
    line = fails.__code__.co_firstlineno + 1
    said = f"batch [12]: .*as hooks do in line {line} of test_networks.py .*float32"
    with pytest.raises(ArgumentError, match=said):
        taut.compress(net, tmp_path / "o", bits=8, train=X, epochs=1)


def test_a_loop_may_copy_what_it_trains(tmp_path):
    """As those do that keep the best so far, or an average."""
    torch.manual_seed(0)
    net = network(lambda s, x: s.l(s.r(x)[0]), r=nn.LSTM(16, 16), l=layer())

    def fit(model, loss):
        optimizer, loss.total = torch.optim.Adam(model.parameters(), 1e-3), 4
        for x in X:
            found = model(x)
            kept = copy.deepcopy(model)
            kept(x[:1])  # is not what the loss is of
            loss(functional.mse_loss(found, x)).backward()
            optimizer.step()
        model.load_state_dict(kept.state_dict())

    assert taut.compress(net, tmp_path / "o", bits=16, train=fit, effort="fast").path.exists()


def test_what_a_hook_holds_still_is_not_moved(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(layer(), layer())
    net[0].weight.register_hook(lambda gradient: gradient.index_fill(0, torch.arange(8), 0.0))
    kept = {}

    def fit(model, loss):
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        for x in X:
            optimizer.zero_grad()
            loss(functional.mse_loss(model(x), x)).backward()
            optimizer.step()
        weight = model[0].parametrizations.weight.original
        kept["moved"] = (weight.detach() != net[0].weight).any(1).tolist()

    taut.compress(net, tmp_path / "o", plan={"0.weight": "int8"}, train=fit)
    assert kept["moved"] == [False] * 8 + [True] * 8


def test_equal_layers_at_steps_of_their_own_are_stored_each(tmp_path):
    """Weights that stand still stay equal, and their steps part."""
    torch.manual_seed(0)
    net = network(lambda s, x: s.c(s.b(5 * s.a(x).relu()).relu()), a=layer(), b=layer(), c=layer())
    net.b.load_state_dict(net.a.state_dict())
    net.a.requires_grad_(False)
    net.b.requires_grad_(False)
    judged = {}

    def score(model):
        judged.update({name: one.clone() for name, one in model.state_dict().items()})
        return 1.0

    plan = {"a.weight": "int2", "b.weight": "int2"}
    taut.compress(net, tmp_path / "o", plan=plan, train=X, epochs=4, score=score)
    found = taut.load(tmp_path / "o", framework="torch")
    assert not torch.equal(judged["a.weight"], judged["b.weight"])
    assert all(torch.equal(found[name], one) for name, one in judged.items())
