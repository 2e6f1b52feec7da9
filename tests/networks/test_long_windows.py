"""Windows joined to long ones: the same numbers, and only where a state goes through them."""

import pytest

from taut.networks.long_windows import joined

torch = pytest.importorskip("torch")
nn = torch.nn


class Words(nn.Module):  # type: ignore[misc, name-defined]
    """Tokens to logits, forward in time, or both ways."""

    def __init__(self, layer: str, both: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(9, 4)
        kind = getattr(nn, layer)
        self.layer = kind(4, 5, batch_first=True, bidirectional=both)
        self.head = nn.Linear(10 if both else 5, 9)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(self.words(ids))[0])


IDS = torch.randint(0, 9, (7, 6), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN"])
def test_windows_follow_each_other_with_the_state_of_the_last(layer: str) -> None:
    net = Words(layer)
    long = joined(IDS, net)
    assert isinstance(long, torch.Tensor) and long.tolist() == [IDS.flatten().tolist()]
    with torch.no_grad():
        assert not torch.allclose(net(long)[0, 6:12], net(IDS)[1], atol=1e-3)
    (named,) = joined({"ids": IDS[:3]}, net).values()  # type: ignore[attr-defined]
    assert named.shape == (1, 18)
    many = joined(IDS.repeat(5, 1), net)
    assert isinstance(many, torch.Tensor) and many.shape == (2, 96)


def test_others_stay_as_they_are() -> None:
    assert joined(IDS, Words("LSTM", both=True)) is None  # what follows changes what was before
    assert joined(IDS, nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2))) is None  # no state
    assert joined(IDS[:1], Words("GRU")) is None
    assert joined((IDS, IDS[:3]), Words("GRU")) is None
