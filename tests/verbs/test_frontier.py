"""The verb `frontier`: real files at many sizes, judged, kept, and gone on from."""

import json

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, TargetError
from taut.scheme import Scheme
from taut.verbs.frontier import JOURNAL


@pytest.fixture
def arrays(rng):
    weights = (rng.standard_normal((64, 96)) * 0.05).astype(np.float32)
    return {"layer.weight": weights, "layer.bias": np.zeros(64, np.float32)}


@pytest.fixture
def net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 48)
    return torch.nn.Sequential(*layers)


@pytest.fixture
def batches():
    torch = pytest.importorskip("torch")
    return list(torch.randn(48, 32, generator=torch.Generator().manual_seed(1)).split(8))


class Score:
    """Near 1 for the original; notes what it was given, and can break or fail."""

    def __init__(self, net, batches):
        self.batches, self.wanted = batches, [net(x).detach() for x in batches]
        self.calls, self.break_at, self.nan_at = 0, 0, 0

    def __call__(self, net):
        self.calls += 1
        if self.calls == self.break_at:
            raise KeyboardInterrupt
        if self.calls == self.nan_at:
            return float("nan")
        pairs = zip(self.batches, self.wanted, strict=True)
        return 1 - float(sum((net(x) - y).square().mean() for x, y in pairs))


def test_every_point_is_the_size_of_a_file_that_compress_writes(arrays, tmp_path):
    found = taut.frontier(arrays, tmp_path / "out", bits=[3, 5], schemes=["int8"])
    assert [point.name for point in found.points] == ["3 bits", "5 bits", "int8"]
    for point, options in (
        (found["3 bits"], {"bits": 3}),
        (found["int8"], {"plan": {"layer.weight": Scheme("int8")}}),
    ):
        alone = taut.compress(arrays, tmp_path / f"{point.size}.safetensors", **options)
        assert point.size == alone.size == alone.path.stat().st_size
        assert point.bits == alone.bits
    files = {path.name: path.stat().st_size for path in (tmp_path / "out").iterdir()}
    assert files.pop(JOURNAL)
    assert sorted(files.values()) == sorted(point.size for point in found.points)


def test_without_a_score_or_data_weights_are_judged(arrays, tmp_path):
    found = taut.frontier(arrays, sizes=["8x"], schemes=["int8", "lossless"])
    assert found.measure.startswith("weight fidelity")
    assert found.original.score.value == found["lossless"].score.value == 1
    alone = taut.compress(
        arrays, tmp_path / "int8.safetensors", plan={"layer.weight": Scheme("int8")}
    )
    error = {tensor.name: tensor.rel_mse for tensor in alone.tensors}["layer.weight"]
    assert found["int8"].score.value == pytest.approx(1 - error * 64 * 96 / (64 * 97))
    assert 0 < error < 1e-3
    assert found["8x"].score.value < found["int8"].score.value
    assert found["8x"].size <= 4 * 64 * 97 / 8


def test_outputs_on_data_are_judged_where_there_is_no_score(net, batches, tmp_path):
    torch = pytest.importorskip("torch")
    found = taut.frontier(
        net, tmp_path / "out", bits=[3], schemes=["int4"], calib=batches, finish=False
    )
    assert found.measure.startswith("fidelity: 1 - relative squared error")
    other = type(net)(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 48))
    taut.load(tmp_path / "out" / "3-bits.taut.safetensors", into=other.half().float())
    x = torch.cat(batches)
    with torch.no_grad():
        wanted, got = net(x), other(x)
    error = float((got - wanted).square().sum() / wanted.square().sum())
    assert found["3 bits"].score.value == pytest.approx(1 - error, abs=1e-6)
    assert found["3 bits"].drop == pytest.approx(error, abs=1e-6)
    assert found.original.score.value == 1


def test_the_score_is_taken_of_what_the_file_decodes_to(net, batches):
    score = Score(net, batches)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = taut.frontier(net, bits=[2, 6], schemes=[], score=score)
    assert score.calls == 3  # the original, and each file
    assert found.original.score.value == 1
    assert found["2 bits"].score.value < found["6 bits"].score.value < 1
    assert found.pareto == ("2 bits", "6 bits")
    assert all((before[name] == value).all() for name, value in net.state_dict().items())


def test_samples_give_intervals_and_all_metrics(net, batches):
    pytest.importorskip("sklearn")
    labels = [net(x).argmax(1) for x in batches]

    def score(model):
        return {
            "labels": np.concatenate([y.numpy() for y in labels]),
            "predictions": np.concatenate([model(x).argmax(1).numpy() for x in batches]),
        }

    found = taut.frontier(net, bits=[1.5], schemes=[], score=score)
    assert found.original.score.name == "accuracy"
    point = found["1.5 bits"]
    assert point.score.low < point.score.value < point.score.high < 1
    assert point.drop == 1 - point.score.value
    assert "f1_macro" in [metric.name for metric in point.metrics]


def test_what_cannot_be_met_is_told_and_the_others_are_made(arrays):
    found = taut.frontier(arrays, bits=[0.1, 4], schemes=["2:4"])
    assert [one.name for one in found.missed] == ["0.1 bits"]
    assert "0.1 bits per parameter" in found.missed[0].reason
    assert {point.name for point in found.points} == {"4 bits", "2:4"}


def test_a_score_that_fails_for_one_file_is_told(net, batches):
    score = Score(net, batches)
    score.nan_at = 2
    found = taut.frontier(net, bits=[2, 4], schemes=[], score=score)
    assert [one.name for one in found.missed] == ["2 bits"]
    assert "nan" in found.missed[0].reason
    assert [point.name for point in found.points] == ["4 bits"]


def test_where_nothing_can_be_made_the_reason_is_told(arrays):
    with pytest.raises(TargetError, match=r"no point could be made; 0\.1 bits: "):
        taut.frontier(arrays, bits=[0.1], schemes=[])


def test_a_sweep_that_broke_off_goes_on_with_what_is_left(net, batches, tmp_path):
    score, out = Score(net, batches), tmp_path / "out"
    score.break_at = 3
    with pytest.raises(KeyboardInterrupt):
        taut.frontier(net, out, bits=[2, 3, 4], schemes=["int8"], score=score)
    with pytest.raises(ArgumentError, match="--resume"):
        taut.frontier(net, out, bits=[2, 3, 4], schemes=["int8"], score=score)
    broken = taut.frontier(net, out, bits=[2, 3, 4], schemes=["int8"], score=score, resume=True)
    assert score.calls == 3 + 4  # the original and 3 bits again, 4 bits, int8; not 2 bits
    whole = taut.frontier(net, bits=[2, 3, 4], schemes=["int8"], score=Score(net, batches))

    def told(found):
        return [(one.name, one.size, one.metrics, one.drop) for one in found.points]

    assert told(broken) == told(whole)
    assert broken.pareto == whole.pareto


def test_a_calibrated_point_that_broke_off_is_gone_on_with_too(net, batches, tmp_path):
    def sweep(steps, resume=False):
        def progress(stage, done, total):
            steps.append(stage)
            if stage == "encode" and not resume:
                raise KeyboardInterrupt

        options = {"calib": batches, "finish": False, "resume": resume, "progress": progress}
        return taut.frontier(net, tmp_path, bits=[3], schemes=[], **options)

    steps, again = [], []
    with pytest.raises(KeyboardInterrupt):
        sweep(steps)
    assert sweep(again, resume=True).points
    assert ("curvature" in steps, "curvature" in again) == (True, False)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {JOURNAL, "3-bits.taut.safetensors"}


def test_a_longer_sweep_takes_over_the_points_of_a_shorter_one(net, batches, tmp_path):
    score, out = Score(net, batches), tmp_path / "out"
    taut.frontier(net, out, bits=[2, 4], schemes=[], score=score)
    (out / "4-bits.taut.safetensors").unlink()  # a point without its file is made again
    found = taut.frontier(net, out, bits=[2, 3, 4], schemes=[], score=score, resume=True)
    assert score.calls == 3 + 3
    assert [point.name for point in found.points] == ["2 bits", "3 bits", "4 bits"]
    assert (out / "4-bits.taut.safetensors").stat().st_size == found["4 bits"].size


def test_another_model_score_or_setting_does_not_fit_the_points(net, batches, tmp_path):
    def sweep(model=net, **other):
        return taut.frontier(model, tmp_path / "out", bits=[3], schemes=[], **other)

    sweep()
    changed = type(net)(*net)
    with pytest.raises(ArgumentError, match="another score"):
        sweep(score=Score(net, batches), resume=True)
    with pytest.raises(ArgumentError, match="another seed, effort"):
        sweep(seed=1, effort="fast", resume=True)
    with pytest.raises(ArgumentError, match="another calibration"):
        sweep(calib=batches, resume=True)
    changed[0].bias.data += 1
    with pytest.raises(ArgumentError, match="another model"):
        sweep(changed, resume=True)
    assert sweep(changed, force=True).points  # afresh


def test_points_are_not_joined_by_a_score_that_has_changed(net, batches, tmp_path):
    score = Score(net, batches)
    taut.frontier(net, tmp_path, bits=[3], schemes=[], score=score)
    score.batches = [2 * x for x in batches]  # other data, by the same code
    with pytest.raises(ArgumentError, match=r"the original's score was 1, and .* would not comp"):
        taut.frontier(net, tmp_path, bits=[3, 4], schemes=[], score=score, resume=True)


def test_a_journal_alone_goes_when_the_sweep_is_done(net, batches, tmp_path):
    score, journal = Score(net, batches), tmp_path / "points.jsonl"
    score.break_at = 3
    options = {"bits": [2, 3], "schemes": [], "score": score, "journal": journal}
    with pytest.raises(KeyboardInterrupt):
        taut.frontier(net, **options)
    kept = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [line["point"]["name"] for line in kept[1:]] == ["original", "2 bits"]
    taut.frontier(net, **options, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_progress_names_the_point_and_ends(arrays):
    steps = []
    taut.frontier(arrays, bits=[4], schemes=["int8"], progress=lambda *step: steps.append(step))
    assert steps == [("point 4 bits", 0, 2), ("point int8", 1, 2), ("point", 2, 2)]


def test_a_generator_of_batches_serves_all_points(net, batches):
    found = taut.frontier(net, bits=[3, 5], schemes=[], calib=(x for x in batches), finish=False)
    assert len(found.points) == 2
    assert found.missed == ()


def test_bad_input_is_told_before_any_work(arrays, net, batches, tmp_path):
    out = tmp_path / "out"
    for told, model, options in (
        ("no float matrix", {"v": np.ones(9000, np.float32)}, {}),
        ("cannot be run", arrays, {"score": lambda _: 1.0}),
        ("cannot be run", arrays, {"calib": batches}),
        ("score: failed: ZeroDivisionError", net, {"score": lambda _: 1 / 0}),
        ("nan", net, {"score": lambda _: float("nan")}),
        ("loss: is for calibration", net, {"loss": lambda output, batch: output}),
        ("resume: wants the place", arrays, {"resume": True}),
        ("threads", arrays, {"threads": 0}),
        ("does not exist", arrays, {"out": tmp_path / "no" / "out"}),
    ):
        with pytest.raises(ArgumentError, match=told):
            taut.frontier(model, **{"bits": [3], "schemes": []} | options)
    assert not out.exists()


def test_weights_alone_cannot_be_scored(arrays, tmp_path):
    pytest.importorskip("torch")
    from safetensors.numpy import save_file

    save_file(arrays, tmp_path / "net.safetensors")
    with pytest.raises(ArgumentError, match="holds weights alone"):
        taut.frontier(tmp_path / "net.safetensors", score=lambda _: 1.0)
    small = taut.compress(arrays, tmp_path / "a.taut.safetensors")
    with pytest.raises(ArgumentError, match="is a Taut file"):
        taut.frontier(small.path)


def test_files_of_others_are_not_overwritten(arrays, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "3-bits.taut.safetensors").write_text("mine")
    with pytest.raises(ArgumentError, match="exists"):
        taut.frontier(arrays, out, bits=[3], schemes=[])
    assert (out / "3-bits.taut.safetensors").read_text() == "mine"
    assert not (out / JOURNAL).exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match="is no folder"):
        taut.frontier(arrays, tmp_path / "file", bits=[3])


def test_curvature_is_collected_once_for_all_points(net, batches, monkeypatch):
    from taut.calibration import start

    collect, seen = start.curvature_of, list[int]()

    def counting(*given, **words):
        seen.append(1)
        return collect(*given, **words)

    monkeypatch.setattr(start, "curvature_of", counting)
    options = {"schemes": [], "calib": batches, "finish": False}
    both = taut.frontier(net, bits=[3, 5], **options)
    assert len(seen) == 1
    alone = taut.frontier(net, bits=[5], **options)
    assert both["5 bits"].size == alone["5 bits"].size


@pytest.fixture
def heads():
    """A network of two outputs, and its batches."""
    torch = pytest.importorskip("torch")

    class Heads(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = torch.nn.Linear(16, 256)
            self.policy, self.value = torch.nn.Linear(256, 5), torch.nn.Linear(256, 2)

        def forward(self, x):
            hidden = self.trunk(x).relu()
            return {"policy": self.policy(hidden), "value": self.value(hidden)}

    torch.manual_seed(0)
    return Heads().eval(), [torch.randn(32, 16) for _ in range(4)]


def test_every_output_counts_in_what_files_are_judged_by(heads):
    net, batches = heads

    def found(said):
        more = {"bits": [6], "schemes": [], "finish": False, "progress": False}
        sweep = taut.frontier(net, calib=batches, outputs=said, **more)
        return sweep.measure, sweep.points[0].metrics[0].value

    (measure, both), (_, alone), (_, weighed) = map(found, (None, "value", {"policy": 0}))
    assert "2 outputs" in measure
    assert alone == pytest.approx(weighed) and abs(both - alone) > 1e-7


def test_what_outputs_count_wants_data_and_outputs_of_the_name(heads):
    net, batches = heads
    with pytest.raises(ArgumentError, match="goes with calibration data"):
        taut.frontier(net, bits=[3], outputs="value")
    with pytest.raises(ArgumentError, match='"vale"'):
        taut.frontier(net, bits=[3], calib=batches, outputs="vale")


def test_an_output_that_changes_its_shape_is_lost_not_an_error():
    torch = pytest.importorskip("torch")

    class Finds(torch.nn.Module):
        """Scores of places, and a box for each whose score is above zero."""

        def __init__(self) -> None:
            super().__init__()
            self.score, self.box = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)

        def forward(self, x):
            scores = self.score(x)
            return {"scores": scores, "boxes": self.box(x)[scores[:, 0] > 0]}

    torch.manual_seed(0)
    net, batches = Finds().eval(), [torch.randn(200, 64) for _ in range(4)]
    asked = {"bits": [2], "schemes": [], "finish": False, "progress": False}
    (point,) = taut.frontier(net, calib=batches, **asked).points
    assert 0 <= point.metrics[0].value < 0.6  # all of the boxes, which are others
    report = taut.analyze(net, batches, measure="int2")
    assert all(0 < one.drop < 1 for one in report.tensors if one.drop is not None)
