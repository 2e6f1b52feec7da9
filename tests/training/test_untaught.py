"""What training leaves alone: tensors without a gradient, frozen ones, and what is no float."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import taut  # noqa: E402
from taut.errors import ArgumentError, TargetError  # noqa: E402
from taut.scheme import Scheme  # noqa: E402
from taut.training.budget import Budget  # noqa: E402
from taut.training.loop import Fit  # noqa: E402
from taut.training.objective import Objective  # noqa: E402
from taut.training.sparsify import Sparsifier  # noqa: E402
from taut.training.student import make_student  # noqa: E402
from taut.transform.settings import Masking, Training  # noqa: E402


class Parts(nn.Module):
    """A layer that is seen, and one of which `way` says how it is not."""

    def __init__(self, way="seen"):
        super().__init__()
        torch.manual_seed(0)
        self.hidden, self.seen, self.way = nn.Linear(16, 16), nn.Linear(16, 16), way

    def forward(self, x):
        if self.way == "unused":
            return self.seen(x)
        if self.way == "routed":  # experts, of which one is never chosen: its share is zero
            return self.seen(x) + 0.0 * self.hidden(x)
        if self.way == "detached":
            return self.seen(self.hidden(x).detach())
        with torch.set_grad_enabled(self.way != "no_grad" and torch.is_grad_enabled()):
            h = self.hidden(x)
        return self.seen(h)


X = torch.randn(8, 16, generator=torch.Generator().manual_seed(1))
DATA = [(x, x) for x in X.split(4)]


def trained(net, training, schemes=("hidden.weight", "seen.weight"), masks=None):
    student = make_student(net, dict.fromkeys(schemes, Scheme("rd")))
    sparsifier = None if masks is None else Sparsifier(student, masks)
    loss = Objective(student, training, None, Budget(800.0, 0.5), sparsifier)
    Fit(DATA, training)(net, loss)
    return student, loss


@pytest.mark.parametrize("way", ["unused", "routed", "detached", "no_grad", "seen"])
def test_no_price_where_no_gradient_of_the_task_came(way):
    net = Parts(way)
    before = net.hidden.weight.detach().clone()
    training = Training(epochs=30, distill=None)
    l1 = {"hidden.weight": Masking(sparsity=0.01, method="l1", gradual=False)}
    student, loss = trained(net, training, masks=l1)
    hidden, seen = student.twins
    assert seen.taught and hidden.taught == (way == "seen")
    assert torch.equal(hidden.original, before) == (way != "seen")
    told = [note for note in loss.untaught() if 'no gradient came to "hidden.weight"' in note]
    assert len(told) == (way != "seen")


def test_steps_alone_bring_what_is_untaught_to_its_share():
    """Else the others would have to make room for it."""
    student, _ = trained(Parts("unused"), Training(epochs=60, distill=None))
    hidden, seen = student.twins
    assert hidden.refresh() < 1.15 * 400 and seen.refresh() > 0.8 * 300


class Stacked(nn.Module):
    """Words, experts and positions, used one by one, and a unit of a layer that never fires."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.place = nn.Embedding(6, 16), nn.Parameter(torch.randn(1, 6, 16))
        self.experts, self.fc = nn.Parameter(torch.randn(3, 16, 16) / 4), nn.Linear(16, 16)
        with torch.no_grad():
            self.fc.bias[5] = -100.0

    def forward(self, tokens):
        h = self.words(tokens) + self.place[:, : tokens.shape[1]]
        return self.fc(torch.einsum("bti,oi->bto", h, self.experts[1])).relu()


def test_what_is_used_in_parts_is_priced_in_parts():
    net = Stacked()
    before = {n: p.detach().clone() for n, p in net.named_parameters()}
    names = ["words.weight", "place", "experts", "fc.weight"]
    student = make_student(net, dict.fromkeys(names, Scheme("rd")))
    training = Training(epochs=30, distill=None)
    loss = Objective(student, training, None, Budget(1500.0, 0.5))
    tokens = torch.tensor([[0, 1, 2, 1]])
    Fit([(tokens, torch.ones(1, 4, 16))], training)(net, loss)
    twins = {twin.name: twin for twin in student.twins}
    seen = {"words.weight": (slice(3), 0), "place": (slice(4), 1), "experts": (slice(1, 2), 0)}
    for name, (used, axis) in seen.items():
        moved = twins[name].original != before[name]
        still = torch.ones(moved.shape[axis], dtype=torch.bool)
        still[used] = False
        assert not moved.movedim(axis, 0)[still].any() and moved.movedim(axis, 0)[~still].any()
    (note,) = loss.untaught()
    assert 'parts of "place", "experts", "words.weight" (2 of 6, 2 of 3, 3 of 6): ' in note
    unit = twins["fc.weight"].original[5]
    assert unit.abs().sum() < 0.95 * before["fc.weight"][5].abs().sum()  # of no use: it may go


def test_what_is_frozen_is_rounded_and_stays():
    net = Parts()
    net.hidden.requires_grad_(False)
    before = net.hidden.weight.detach().clone()
    student, loss = trained(net, Training(epochs=2, distill=None))
    assert torch.equal(student.twins[0].original, before)
    assert not torch.equal(net.hidden.weight, before)
    (note,) = student.notes
    assert '"hidden.weight": requires_grad is False' in note and loss.untaught() == []


def test_sparse_gradients_and_what_is_no_float(tmp_path):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.words = nn.Embedding(30, 16, sparse=True)
            self.kept = nn.EmbeddingBag(30, 16, sparse=True)
            self.order = nn.Parameter(torch.arange(16).flip(0), requires_grad=False)
            self.mask = nn.Parameter(torch.ones(16, dtype=torch.bool), requires_grad=False)
            self.turn = nn.Parameter(torch.randn(9, dtype=torch.complex64))
            self.eight = nn.Parameter(torch.ones(16).to(torch.float8_e4m3fn))
            self.fc = nn.Linear(16, 3)

        def forward(self, tokens):
            h = (self.words(tokens) + self.kept(tokens[:, None]))[:, self.order] * self.mask
            h = h * self.eight.float()
            return self.fc(torch.fft.irfft(torch.fft.rfft(h) * self.turn, n=16))

    net, tokens = Odd(), torch.arange(30)
    found = taut.compress(
        net, tmp_path / "x", size="1.3x", train=[(tokens, tokens % 3)], epochs=8,
        plan={"kept.weight": "lossless"},
    )  # fmt: skip
    again = taut.load(tmp_path / "x", into=Odd())
    assert torch.equal(again.turn, net.turn) and torch.equal(again.order, net.order)
    assert not torch.equal(again.kept.weight, net.kept.weight)  # as trained, unrounded
    assert torch.equal(again.eight.float(), net.eight.float())
    assert any('"turn", "eight": of dtypes that do not train' in note for note in found.notes)


def test_a_model_that_is_frozen_altogether_is_refused(tmp_path):
    net = Parts().requires_grad_(False)
    with pytest.raises(ArgumentError, match=r"requires_grad is False for every.*requires_grad_"):
        taut.compress(net, tmp_path / "x", bits=4, train=DATA, epochs=1)


LONGER = {
    "unreached": ({"size": 300}, "unused", r'ended.*below.*"hidden.weight" \d+ \(no gradient'),
    "kept": (
        {"size": 900, "plan": {"hidden.weight": "lossless", "hidden.bias": "ternary"}},
        "seen",
        r'^size: 900 bytes.*"hidden.weight" [\d,]+ \(kept as F32\), "hidden.bias" \d+ \(ternary\)',
    ),
    "short": ({"size": 300}, "seen", r"train longer, or ask for more$"),
}


@pytest.mark.parametrize("asked", LONGER)
def test_longer_is_asked_for_only_where_it_helps(tmp_path, asked):
    words, way, told = LONGER[asked]
    with pytest.raises(TargetError, match=told) as raised:
        taut.compress(Parts(way), tmp_path / "x", train=DATA, epochs=1, **words)
    assert ("longer" in str(raised.value)) == (asked == "short")
