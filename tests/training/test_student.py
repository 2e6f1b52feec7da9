"""Students: every kind of layer trains, ties hold, and the caller's network stays its own."""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.parametrizations import weight_norm  # noqa: E402

from taut.scheme import Scheme, parse_scheme  # noqa: E402
from taut.training.student import make_student  # noqa: E402


class Tied(nn.Module):
    """An embedding whose matrix is the head's too."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def under_the_dial(module, text="rd"):
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    return dict.fromkeys(names, parse_scheme(text))


def trained(module, *given, steps=3):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        output = module(*given)
        output = output[0] if isinstance(output, tuple) else output
        output.square().mean().backward()
        optimizer.step()


def test_tied_weights_stay_tied():
    torch.manual_seed(0)
    net = Tied()
    student = make_student(net, under_the_dial(net))
    (twin,) = student.twins
    assert twin.names == ("embedding.weight", "head.weight")
    twin.quant.mask = torch.rand(20, 8) > 0.5
    tokens = torch.arange(20)
    trained(net, tokens)
    assert torch.equal(net.embedding.weight, net.head.weight)
    assert not net.head.weight[~twin.quant.mask].any()
    assert sum(p.numel() for p in net.parameters()) == 20 * 8 + 1  # one matrix, one step
    assert torch.equal(net.head.weight, twin.value())


RECURRENT = {
    "lstm": lambda: nn.LSTM(6, 5),
    "two layers, both ways": lambda: nn.LSTM(6, 5, num_layers=2, bidirectional=True),
    "projected": lambda: nn.LSTM(6, 5, proj_size=3, bias=False),
    "gru": lambda: nn.GRU(6, 5, batch_first=True),
    "rnn": lambda: nn.RNN(6, 5, nonlinearity="relu"),
    "cell": lambda: nn.GRUCell(6, 5),
    "weight norm on it": lambda: weight_norm(nn.LSTM(6, 5), "weight_hh_l0"),
}


@pytest.mark.parametrize("kind", RECURRENT)
def test_recurrent_layers_run_on_quantised_weights(kind):
    torch.manual_seed(0)
    net, given = RECURRENT[kind](), torch.randn(3, 2, 6)
    if kind == "cell":
        given = given[0]
    plain = copy.deepcopy(net)
    student = make_student(net, under_the_dial(net, "int4"))
    assert student.plain == () and student.notes == []
    before = {twin.name: twin.original.detach().clone() for twin in student.twins}
    trained(net, given)
    moved = [twin for twin in student.twins if not torch.equal(before[twin.name], twin.original)]
    assert len(moved) == len(student.twins) - (kind == "cell")  # whose state was zero
    kept = copy.deepcopy(net)  # as loops keep the best so far
    with torch.no_grad():
        own = dict(plain.named_parameters())
        for twin in student.twins:
            own[twin.name].copy_(twin.value())
        for trained_one in (net, net.eval(), kept):
            assert torch.allclose(_first(trained_one(given)), _first(plain(given)), atol=1e-6)


def _first(output):
    return output[0] if isinstance(output, tuple) else output


def test_attention_runs_on_quantised_weights():
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    given = torch.randn(2, 5, 16)
    schemes = {n: s for n, s in under_the_dial(net, "int3").items() if "norm" not in n}
    student = make_student(net, schemes)
    trained(net, given)
    assert "self_attn.in_proj_weight" in {twin.name for twin in student.twins}
    for row in net.self_attn.in_proj_weight.detach():
        assert len(row.unique()) <= 7
    net.eval()
    with torch.no_grad():  # the fast path of evaluation must see the same weights
        fast = net(given)
    assert torch.allclose(fast, net(given), atol=1e-5)


@pytest.mark.parametrize(
    "net",
    [
        nn.Conv2d(4, 8, 3, groups=2),
        nn.ConvTranspose2d(4, 6, 3),
        nn.Conv1d(4, 8, 5),
        nn.Bilinear(4, 4, 3),
        nn.Sequential(nn.Linear(4, 4), nn.PReLU()),
    ],
    ids=lambda net: type(net).__name__,
)
def test_layers_of_many_kinds_train(net):
    shapes = {nn.Conv2d: (2, 4, 8, 8), nn.ConvTranspose2d: (2, 4, 8, 8), nn.Conv1d: (2, 4, 16)}
    given = [torch.ones(shapes.get(type(net), (2, 4)))] * (2 if isinstance(net, nn.Bilinear) else 1)
    student = make_student(net, under_the_dial(net))
    before = [twin.original.detach().clone() for twin in student.twins]
    trained(net, *given)
    assert any(
        not torch.equal(a, twin.original) for a, twin in zip(before, student.twins, strict=True)
    )


def test_what_no_scheme_names_is_trained_as_floats():
    net = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    student = make_student(net, {"0.weight": Scheme("rd")})
    assert [twin.name for twin in student.twins] == ["0.weight"]
    assert student.plain == ("0.bias", "1.weight", "1.bias")


def test_bits_are_estimated_where_indices_are_and_pull_where_a_dial_is():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(32, 32, bias=False), nn.Linear(32, 32, bias=False))
    student = make_student(net, {"0.weight": Scheme("rd"), "1.weight": Scheme("ternary")})
    free, fixed = student.twins
    assert free.refresh() > 0 and fixed.refresh() == pytest.approx(32 * 32 * 1.58, rel=0.15)
    assert float(free.bits().detach()) == pytest.approx(free.estimate.bits, rel=0.2)
    assert fixed.bits() is None
    free.quant.note(torch.ones(32, 32))  # else it has no price
    free.bits().backward()
    assert free.original.grad.abs().sum() > 0
    assert free.quant.log_step.grad < 0  # a larger step saves bits
