"""A model is judged, and held against the one that it came from."""

import pytest

import laconic
from laconic.errors import ArgumentError

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")


@pytest.fixture
def net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))


def score(net):
    inputs = torch.randn(200, 16, generator=torch.Generator().manual_seed(1))
    return {"labels": torch.arange(200) % 3, "logits": net(inputs)}


def test_a_lossless_file_changes_no_sample(net, tmp_path):
    laconic.compress(net, tmp_path / "x.laconic.safetensors")
    found = laconic.evaluate(tmp_path / "x.laconic.safetensors", score, against=net)
    pair = found.paired[0]
    assert (pair.gained, pair.lost, pair.agreement, pair.p_value) == (0, 0, 1.0, 1.0)
    assert found.model.scores == found.against.scores
    assert found.model.size == (tmp_path / "x.laconic.safetensors").stat().st_size


def test_another_network_is_refused(net, tmp_path):
    laconic.compress(net, tmp_path / "x.laconic.safetensors")
    with pytest.raises(ArgumentError):
        laconic.evaluate(tmp_path / "x.laconic.safetensors", score, against=torch.nn.Linear(16, 3))


def test_there_must_be_something_to_judge_by(net, tmp_path):
    with pytest.raises(ArgumentError, match=r"score \(--eval\) or batches"):
        laconic.evaluate(net)
    laconic.compress(net, tmp_path / "x.laconic.safetensors")
    with pytest.raises(ArgumentError, match="holds weights alone"):
        laconic.evaluate(tmp_path / "x.laconic.safetensors", score)


def test_one_number_has_no_interval_and_says_so(net):
    found = laconic.evaluate(net, lambda _: 0.5)
    assert found.model.scores.metrics[0].low is None
    assert any("one number has no interval" in note for note in found.notes)


def test_samples_must_be_the_same(net):
    calls = iter([[0, 1], [1, 0]])
    with pytest.raises(ArgumentError, match="labels are not the original's"):
        laconic.evaluate(net, lambda _: {"labels": next(calls), "predictions": [0, 1]}, against=net)
