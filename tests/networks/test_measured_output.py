"""What an output is, told by its values, whatever the layers are called that made it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

import taut  # noqa: E402
from taut.errors import ArgumentError  # noqa: E402
from taut.networks.output_kind import output_kind  # noqa: E402
from taut.networks.output_roles import output_roles  # noqa: E402

X = torch.randn(512, 16, generator=torch.Generator().manual_seed(1))
TRUTH = torch.randn(16, 5, generator=torch.Generator().manual_seed(2))


def trained(head: nn.Module, target: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 32), nn.ReLU())
    net.add_module("fc", head)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        optimiser.zero_grad()
        loss(net(X), target).backward()
        optimiser.step()
    return net.eval()


class OneByOne(nn.Module):
    """A head that is a 1x1 convolution over a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(32, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x[..., None, None]).flatten(1)


CLASSES = (X @ TRUTH).argmax(1)
CROSS = nn.functional.cross_entropy
SQUARED = nn.functional.mse_loss


@pytest.mark.parametrize(
    "head",
    [nn.Linear(32, 5), nn.Sequential(nn.Dropout(), nn.Linear(32, 5)), OneByOne()],
    ids=["linear", "sequential", "1x1 convolution"],
)
def test_logits_are_told_whatever_makes_them(head: nn.Module) -> None:
    net = trained(head, CLASSES, CROSS)
    assert output_kind(net, X[:64]) == "logits"
    assert output_kind(nn.Sequential(net, nn.LogSoftmax(-1)), X[:64]) == "logits"
    assert output_kind(nn.Sequential(net, nn.Softmax(-1)), X[:64]) == "probabilities"


@pytest.mark.parametrize("scale", [0.2, 5.0])
def test_a_regression_is_told_though_its_layer_is_called_fc(scale: float) -> None:
    net = trained(nn.Linear(32, 5), X @ TRUTH * scale, SQUARED)
    (role,) = output_roles(net, [X[:64]]).values()
    assert role.kind == "features" and "sum" in role.why


def test_embeddings_of_one_length_are_features() -> None:
    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 8)

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.normalize(self.fc(x), dim=-1)

    (role,) = output_roles(Unit(), [X[:64]]).values()
    assert role.kind == "features" and "length" in role.why


def test_logits_of_words_are_told_by_the_vocabulary() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.out = nn.Embedding(40, 8), nn.Linear(8, 40)

        def forward(self, ids: Tensor) -> Tensor:
            return self.out(self.words(ids))

    assert output_kind(Words(), torch.arange(40).reshape(2, 20)) == "logits"


def test_what_is_said_goes_before_and_must_be_there() -> None:
    net = nn.Linear(16, 5)
    assert output_roles(net, [X[:64]], {"": "logits"})[""].kind == "logits"
    with pytest.raises(ArgumentError, match='no output "box"'):
        output_roles(net, [X[:64]], {"box": "logits"})


def test_single_samples_of_several_batches_tell_too() -> None:
    net = trained(nn.Linear(32, 5), CLASSES, CROSS)
    net = nn.Sequential(net)  # whose name tells nothing
    assert output_roles(net, [*X.split(8)])[""].kind == "logits"


def test_a_network_none_of_whose_matrices_reaches_an_output_is_refused(tmp_path: Path) -> None:
    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bias = nn.Linear(16, 128), nn.Parameter(torch.ones(16))

        def forward(self, x: Tensor) -> Tensor:
            self.fc(x)
            return x + self.bias

    with pytest.raises(ArgumentError, match="no matrix that is rounded leads to it"):
        taut.compress(Apart(), tmp_path / "x", bits=4, calib=[*X[:64].split(8)])


@pytest.mark.parametrize("width", [32, 64, 128, 384])
@pytest.mark.parametrize("pooled", [False, True])
def test_what_layer_norms_give_is_no_class(width: int, pooled: bool) -> None:
    """Its values sum to nothing, as those of a softmax do, whatever the gains."""
    torch.manual_seed(width)
    norm = nn.LayerNorm(width)
    with torch.no_grad():
        norm.weight.copy_(1.5 + 0.2 * torch.randn(width))
        norm.bias.copy_(0.2 * torch.randn(width))

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.norm = nn.Linear(16, 64), nn.Linear(64, width), norm

        def forward(self, x: Tensor) -> Tensor:
            y = self.norm(self.last(self.first(x).relu()))
            return y.reshape(-1, 4, width).mean(1) if pooled else y

    (role,) = output_roles(Encoder(), [X]).values()
    assert role.kind == "features" and (pooled or role.why == "a layer norm gives it")


@pytest.mark.parametrize("classes", [5, 40])
def test_minus_infinity_forbids_a_class(classes: int, tmp_path: Path) -> None:
    """For some inputs alone, as moves that a rule forbids, and not in the first batch."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(16, 256)
            self.out = nn.Linear(256, classes)

        def forward(self, x: Tensor) -> Tensor:
            forbidden = (x[:, :1] > 0.5) & (torch.arange(classes) < 2)
            return self.out(self.fc(x).relu()).masked_fill(forbidden, -torch.inf)

    torch.manual_seed(0)
    net, batches = Masked(), [*X.split(32)]
    batches[0] = -batches[0].abs()
    (role,) = output_roles(net, [X]).values()
    assert (role.kind, role.why) == ("logits", "minus infinity forbids some classes")
    found = taut.compress(net, tmp_path / "o", bits=5, calib=batches, output="logits")
    with torch.no_grad():
        new, old = taut.load(found.path, into=Masked())(X), net(X)
    assert torch.equal(new == -torch.inf, old == -torch.inf)
    assert torch.allclose(new.softmax(-1), old.softmax(-1), atol=0.1)


def test_positions_are_no_vocabulary() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.words, self.places = nn.Embedding(50, 32), nn.Embedding(32, 32)
            self.fc, self.out = nn.Linear(32, 64), nn.Linear(64, 32)

        def forward(self, ids: Tensor) -> Tensor:
            states = self.words(ids) + self.places(torch.arange(ids.shape[1]))
            return self.out(self.fc(states).relu()).mean(1)

    ids = torch.randint(0, 50, (64, 12), generator=torch.Generator().manual_seed(0))
    (role,) = output_roles(Encoder(), [ids]).values()
    assert role.kind == "features"
