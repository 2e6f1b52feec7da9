"""A model is judged, and held against the one that it came from."""

import pytest

import taut
from taut.errors import ArgumentError
from taut.reporting.reading import read_as
from taut.scoring.results import Evaluation, Fidelity, LayerFidelity

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
    taut.compress(net, tmp_path / "x.taut.safetensors")
    found = taut.evaluate(tmp_path / "x.taut.safetensors", score, original=net)
    pair = found.paired[0]
    assert (pair.gained, pair.lost, pair.agreement, pair.p_value) == (0, 0, 1.0, 1.0)
    assert found.model.scores == found.original.scores
    assert found.model.size == (tmp_path / "x.taut.safetensors").stat().st_size


def test_another_network_is_refused(net, tmp_path):
    taut.compress(net, tmp_path / "x.taut.safetensors")
    with pytest.raises(ArgumentError):
        taut.evaluate(tmp_path / "x.taut.safetensors", score, original=torch.nn.Linear(16, 3))


def test_there_must_be_something_to_judge_by(net, tmp_path):
    with pytest.raises(ArgumentError, match=r"score \(--score\) or calib"):
        taut.evaluate(net)
    taut.compress(net, tmp_path / "x.taut.safetensors")
    with pytest.raises(ArgumentError, match="holds weights alone"):
        taut.evaluate(tmp_path / "x.taut.safetensors", score)


def test_one_number_has_no_interval_and_says_so(net):
    found = taut.evaluate(net, lambda _: 0.5)
    assert found.model.scores.metrics[0].low is None
    assert any("one number has no interval" in note for note in found.notes)


def test_samples_must_be_the_same(net):
    calls = iter([[0, 1], [1, 0]])
    with pytest.raises(ArgumentError, match="labels are not the original's"):
        taut.evaluate(net, lambda _: {"labels": next(calls), "predictions": [0, 1]}, original=net)


@pytest.mark.parametrize("lower", [False, True])
def test_compress_takes_arrays_too(tmp_path, lower):
    """The first metric decides, and one that is better when lower is negated."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 96), torch.nn.ReLU(), torch.nn.Linear(96, 3))
    inputs = torch.randn(64, 16, generator=torch.Generator().manual_seed(1))
    labels = net(inputs).argmax(1)

    def arrays(net):
        if lower:
            return {"nll": torch.nn.functional.cross_entropy(net(inputs), labels, reduction="none")}
        return {"labels": labels, "logits": net(inputs)}

    path = tmp_path / "x.taut.safetensors"
    result = taut.compress(
        net, path, calib=[inputs], score=arrays, bits=14, max_drop=5.0, threads=1, finish=False
    )
    kept = taut.evaluate(path, arrays, original=net)
    sign = -1 if lower else 1
    assert result.original_score == pytest.approx(sign * kept.original.scores.metrics[0].value)
    assert result.score == pytest.approx(sign * kept.model.scores.metrics[0].value)
    assert (result.original_score < 0) is lower


def test_what_is_left_out_is_said(net):
    other = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    found = taut.evaluate(other, original=net, calib=[torch.randn(4, 16)])
    assert found.fidelity.left_out["0"] == "weight is [32, 16], in the new model [8, 16]"
    assert found.fidelity.worst is None
    assert any(note.startswith("layers not compared: 2, as 0 (weight is") for note in found.notes)
    back = read_as(Evaluation, found.to_json(), "eval.json")
    assert back.fidelity == found.fidelity


def test_a_module_on_demand_is_judged_as_it_is(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(300, 300), torch.nn.Linear(300, 3)).eval()
    taut.compress(net, tmp_path / "x.taut.safetensors")
    inputs = torch.randn(8, 300)
    wanted = net(inputs).detach()
    module = taut.load(tmp_path / "x.taut.safetensors", into=net, on_demand=True)
    weights = module.taut.stats.on_demand
    assert weights >= 4 * 300 * 300
    found = taut.evaluate(
        module,
        lambda net: {"labels": wanted.argmax(1), "logits": net(inputs)},
        calib=[inputs],
        memory=True,
    )
    assert found.model.scores.metrics[0].value == 1
    assert found.model.parameters == 300 * 300 + 300 + 900 + 3
    assert found.model.memory.file == (tmp_path / "x.taut.safetensors").stat().st_size
    assert found.model.memory.resident < weights <= found.model.memory.peak


def test_a_seed_is_the_scores_too(net):
    found = [taut.evaluate(net, lambda _: float(torch.rand(())), seed=s) for s in (1, 1, 2)]
    one, same, other = (one.model.scores.metrics[0].value for one in found)
    assert one == same != other


def test_an_error_that_is_no_number_is_the_worst():
    layers = (
        LayerFidelity("a", "Linear", 1, 0, 0.5),
        LayerFidelity("b", "Linear", 1, 0, float("nan")),
        LayerFidelity("c", "Linear", 1, 0, 0.9),
    )
    assert Fidelity(1, 1, 0, 0, None, layers).worst.name == "b"
    assert Fidelity(1, 1, 0, 0, None, layers[::2]).worst.name == "c"


def test_a_taut_folder_of_hugging_face_opens_by_itself(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
    )
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    taut.compress(tmp_path / "bert", tmp_path / "small")
    ids, targets = torch.arange(40).reshape(4, 10), torch.arange(4)

    def score(net):
        return {"targets": targets, "values": net(ids).pooler_output[:, 0]}

    alone = taut.evaluate(tmp_path / "small", score)
    beside = taut.evaluate(tmp_path / "small", score, original=tmp_path / "bert")
    assert alone.model.scores == beside.model.scores == beside.original.scores
    assert alone.model.size == (tmp_path / "small" / "model.taut.safetensors").stat().st_size


def test_what_was_measured_is_what_is_said_of_speed(net, monkeypatch):
    from taut.evaluation import speed

    def measured(runs, **given):
        return {name: speed._speed([0.1 + 0.3 * int(name)], 4, 1, 0, "torch") for name in runs}

    monkeypatch.setattr(speed, "compare_speed", measured)
    found = taut.evaluate(net, original=net, calib=[torch.randn(4, 16)], speed=True)
    assert found.notes == ("a call is 4.00x as fast as the original's",)
