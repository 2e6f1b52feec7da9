"""How many directions of the outputs are taken: more of few samples, never much more work."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from taut.calibration.projections import most_projections, projections_for  # noqa: E402


class Pooled(nn.Module):
    """One vector a sample, of token ids."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)

    def forward(self, ids):
        return self.words(ids).mean(1)


class Each(Pooled):
    """A vector a token."""

    def forward(self, ids):
        return self.words(ids)


class Unasked(nn.Module):
    def forward(self, ids):
        raise AssertionError("it need not run")


def ids(samples, tokens):
    return torch.zeros(samples, tokens, dtype=torch.int64)


@pytest.mark.parametrize(
    ("network", "batches", "taken"),
    [
        (Pooled(), [ids(16, 8)] * 16, 8),
        (Pooled(), [ids(32, 8)] * 16, 4),
        (Pooled(), [ids(1, 8)], 8),
        (Unasked(), [ids(64, 8)] * 16, 2),
        (Each(), [ids(16, 8)] * 16, 2),
        (Each(), [ids(2, 64)] * 4, 4),
        (Pooled(), [ids(16, 512)] * 16, 2),  # 131,072 positions to go back through
    ],
)
def test_few_vectors_are_taken_in_more_directions(network, batches, taken):
    assert projections_for(network, batches, "features") == taken
    assert taken <= most_projections(sum(map(len, batches)))  # by which memory is foretold


def test_images_are_counted_by_samples():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    assert projections_for(network, [torch.zeros(64, 3, 2, 2)] * 8, "logits") == 4
