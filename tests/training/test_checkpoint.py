"""Checkpoints: a training that broke off ends as if it had not, and nothing else is taken."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut.errors import ArgumentError  # noqa: E402
from taut.scheme import Scheme  # noqa: E402
from taut.training.budget import Budget  # noqa: E402
from taut.training.checkpoint import (  # noqa: E402
    LoopPosition,
    read_checkpoint,
    write_checkpoint,
)
from taut.training.distill import Lesson  # noqa: E402
from taut.training.loop import Fit  # noqa: E402
from taut.training.objective import Objective  # noqa: E402
from taut.training.sparsify import Sparsifier  # noqa: E402
from taut.training.student import make_student  # noqa: E402
from taut.transform.settings import Distill, Masking, Training  # noqa: E402

MASKS = {
    "none": None,
    "gradual": Masking(sparsity=0.5, end=0.9),
    "once": Masking(sparsity=0.5, gradual=False, method="wanda"),
    "wanda": Masking(sparsity=0.7, method="wanda", end=0.95),
    "obs": Masking(sparsity=0.7, method="obs", regrow=0.1, end=0.95),
}


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(6, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 3)
    )


def data():
    generator = torch.Generator().manual_seed(1)
    return [(x, x[:, :3].argmax(1)) for x in torch.randn(7, 8, 6, generator=generator)]


class Run:
    """A student with everything that a training may have, and its loop."""

    def __init__(self, path, mask=None, target=1500.0, **settings):
        self.training = Training(**{"epochs": 4, "distill": Distill(), "mask": mask, **settings})
        net = network()
        self.student = make_student(net, {"0.weight": Scheme("rd"), "4.weight": Scheme("rd")})
        masks = None
        if mask is not None:
            masks = Sparsifier(self.student, dict.fromkeys(("0.weight", "4.weight"), mask))
        lesson = Lesson(net, network(9).eval(), self.training.distill)
        self.loss = Objective(self.student, self.training, lesson, Budget(target, 0.5), masks)
        self.loss.measure = lambda: self.loss.budget.spent + 100.0
        self.path = path

    def __call__(self, batches, resume=False):
        torch.manual_seed(3)
        np.random.seed(3)
        Fit(batches, self.training, checkpoint=self.path, resume=resume)(
            self.student.module, self.loss
        )
        return {n: v.clone() for n, v in self.student.module.state_dict().items()}


def noisy(broken_after=None):
    """Batches with noise of numpy's and torch's, that break off in an epoch."""
    epoch = [0]

    def batches():
        epoch[0] += 1
        for number, (x, y) in enumerate(data()):
            if broken_after is not None and (epoch[0] - 1, number) == (broken_after + 1, 3):
                raise KeyboardInterrupt
            yield x + 0.1 * torch.randn(x.shape) + float(np.random.normal(0, 0.1)), y

    return batches


@pytest.mark.parametrize(("mask", "optimizer"), [*((m, "adamw") for m in MASKS), ("none", "sgd")])
def test_it_goes_on_as_if_it_had_not_broken_off(tmp_path, mask, optimizer):
    unbroken = Run(tmp_path / "a.npz", MASKS[mask], optimizer=optimizer)(noisy())
    with pytest.raises(KeyboardInterrupt):
        Run(tmp_path / "b.npz", MASKS[mask], optimizer=optimizer)(noisy(broken_after=2))
    again = Run(tmp_path / "b.npz", MASKS[mask], optimizer=optimizer)(noisy(), resume=True)
    assert unbroken.keys() == again.keys()
    for name, value in unbroken.items():
        assert torch.equal(value, again[name]), name


def test_where_it_is_kept_changes_nothing(tmp_path):
    kept, not_kept = Run(tmp_path / "a.npz")(noisy()), Run(None)(noisy())
    assert all(torch.equal(value, not_kept[name]) for name, value in kept.items())


def test_one_that_is_done_is_not_trained_further(tmp_path):
    for settings in ({}, {"patience": 1, "lr": 1e-9, "epochs": 30}):
        path = tmp_path / f"{len(settings)}.npz"
        first = Run(path, **settings)(noisy())
        run = Run(path, **settings)
        again = run(noisy(), resume=True)
        assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(tmp_path):
    path = tmp_path / "a.npz"
    epoch = [0]

    def batches():
        epoch[0] += 1
        nan = float("nan")
        return [(x * (nan if epoch[0] > 3 and n == 4 else 1), y) for n, (x, y) in enumerate(data())]

    with pytest.raises(ArgumentError, match=r"loss is nan at step 19.*last good state is in .*npz"):
        Run(path)(batches)
    epoch[0] = -99
    broken = Run(path)(batches, resume=True)
    epoch[0] = -99
    unbroken = Run(tmp_path / "b.npz")(batches)
    assert all(torch.equal(value, broken[name]) for name, value in unbroken.items())
    assert torch.isfinite(torch.cat([v.float().flatten() for v in broken.values()])).all()


@pytest.mark.parametrize(
    "other", [{"epochs": 5}, {"lr": 0.5}, {"target": 900.0}, {"distill": Distill(weight=0.5)}]
)
def test_other_settings_are_refused(tmp_path, other):
    Run(tmp_path / "a.npz")(data())
    with pytest.raises(ArgumentError, match=r"a.npz: is of other training settings; remove it"):
        Run(tmp_path / "a.npz", **other)(data(), resume=True)


def test_other_data_and_another_model_are_refused(tmp_path):
    Run(tmp_path / "a.npz")(data())
    with pytest.raises(ArgumentError, match="other training settings"):
        Run(tmp_path / "a.npz")(data()[:5], resume=True)
    run = Run(tmp_path / "a.npz")
    run.student.module.add_module("5", nn.Identity())
    run.student.module.add_module("6", nn.Linear(3, 3))
    with pytest.raises(ArgumentError, match=r"another model \(6\.(weight|bias)\)"):
        run(data(), resume=True)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "pickle", "flipped", "other"])
def test_damage_is_refused(tmp_path, damage):
    path = tmp_path / "a.npz"
    Run(path)(data())
    whole = path.read_bytes()
    if damage == "pickle":
        np.savez(path, place=np.array([{"a": 1}], dtype=object))
    elif damage == "other":
        np.savez(path, weights=np.ones(3))
    else:
        at = whole.index(b"place.npy") + 200
        path.write_bytes(
            {
                "empty": b"",
                "cut": whole[: len(whole) // 2],
                "text": b"no archive",
                "flipped": whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :],
            }[damage]
        )
    with pytest.raises(ArgumentError, match=r"a.npz: is no checkpoint .*remove it to start anew"):
        Run(path)(data(), resume=True)


def test_arrays_of_other_shapes_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    Run(path)(data())
    with np.load(path) as file:
        arrays = dict(file)
    name = next(n for n in arrays if n.endswith("4.bias"))
    for changed in ({name: np.ones(5, np.float32)}, {"random": np.zeros(3, np.uint8)}):
        np.savez(path, **{**arrays, **changed})
        with pytest.raises(ArgumentError, match="remove it to start anew"):
            Run(path)(data(), resume=True)


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    Run(path)(data())
    whole = path.read_bytes()
    monkeypatch.setattr("taut.container.AtomicFile.commit", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Run(path)(data())
    assert path.read_bytes() == whole
    assert [one.name for one in tmp_path.iterdir()] == ["a.npz"]


@pytest.mark.parametrize("word", ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "float64"])
def test_a_buffer_of_every_float_comes_back(tmp_path, word):
    model = nn.Linear(2, 2)
    table = torch.tensor([0.5, -3.0, 0.0]).to(getattr(torch, word))
    model.register_buffer("table", table.clone())
    place = LoopPosition(0, 0, 0, None, 0, None, "x")
    write_checkpoint(tmp_path / "a.npz", model, [], place, {})
    model.table.zero_()
    read_checkpoint(tmp_path / "a.npz", model, [], "x")
    assert model.table.dtype == table.dtype
    assert torch.equal(model.table.double(), table.double())
