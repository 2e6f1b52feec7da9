"""Finishing touches: what they take back of a known error, and what they must never make worse."""

import copy

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.networks.output_vectors import Distance, vectors
from taut.networks.portions import hold, samples, split
from taut.transform.affordable import affordable_steps, work
from taut.transform.finish import finish

torch = pytest.importorskip("torch")


class Net(torch.nn.Module):
    """Inputs of 8, outputs of 5, with a norm between: its second bias can undo its own shift."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(8, 12)
        self.norm = torch.nn.BatchNorm1d(12)
        self.second = torch.nn.Linear(12, 5)

    def forward(self, x):
        return self.second(torch.relu(self.norm(self.first(x))))


NAMES = ["first.bias", "norm.weight", "norm.bias", "second.bias"]


@pytest.fixture
def teacher():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Net().train()


@pytest.fixture
def batches():
    rng = np.random.default_rng(5)
    return [torch.from_numpy(rng.standard_normal((16, 8), np.float32)) for _ in range(12)]


def quantised(teacher, step=0.25):
    """A copy whose matrices are rounded coarsely."""
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        for part in (student.first, student.second):
            part.weight.copy_((part.weight / step).round() * step)
    return student


def test_a_shift_that_a_bias_can_undo_is_undone(teacher, batches):
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.second.bias += torch.tensor([0.3, -0.2, 0.1, 0.0, 0.4])
    done = finish(student, teacher, batches, ["second.bias"], kind="features", steps=400, rate=0.1)
    assert done.before > 0.1 and done.after < 1e-4 * done.before
    np.testing.assert_allclose(
        done.values["second.bias"], teacher.second.bias.detach().numpy(), atol=2e-3
    )


@pytest.mark.parametrize("kind", ["logits", "features"])
def test_what_matrices_lost_is_taken_back_in_part(teacher, batches, kind):
    done = finish(quantised(teacher), teacher, batches, NAMES, kind=kind, steps=150)
    assert done.after < 0.9 * done.before
    assert done.steps == 150 and done.note == ""


def test_the_student_holds_the_values_and_the_loss_is_theirs(teacher, batches):
    student = quantised(teacher)
    done = finish(student, teacher, batches, NAMES, kind="features", steps=60)
    for name, value in done.values.items():
        np.testing.assert_array_equal(value, value.astype(np.float16))
        np.testing.assert_array_equal(value, student.get_parameter(name).detach().numpy())
    again = finish(student, teacher, batches, NAMES, kind="features", steps=0)
    assert again.before == again.after == done.after


def test_one_seed_gives_one_result(teacher, batches):
    one, two, other = (
        finish(quantised(teacher), teacher, batches, NAMES, kind="logits", steps=40, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.after == two.after and one.before == two.before
    for name in NAMES:
        np.testing.assert_array_equal(one.values[name], two.values[name])
    assert any((one.values[name] != other.values[name]).any() for name in NAMES)


def test_nothing_else_changes(teacher, batches):
    student = quantised(teacher)
    student.second.weight.requires_grad_(False)
    kept = {name: value.clone() for name, value in student.state_dict().items()}
    original = {name: value.clone() for name, value in teacher.state_dict().items()}
    state = torch.random.get_rng_state()
    with torch.no_grad():
        student.norm.bias += 0.5
    kept["norm.bias"] += 0.5
    finish(student, teacher, lambda: iter(batches), ["norm.bias"], kind="logits", steps=80)
    changed = {name for name, value in student.state_dict().items() if (value != kept[name]).any()}
    assert changed == {"norm.bias"}  # not the running statistics either
    assert all((value == original[name]).all() for name, value in teacher.state_dict().items())
    assert student.training and teacher.training and student.norm.training
    assert not student.second.weight.requires_grad and student.first.weight.requires_grad
    assert all(one.grad is None for one in [*student.parameters(), *teacher.parameters()])
    assert (torch.random.get_rng_state() == state).all()


def test_where_nothing_improves_the_values_are_those_given(teacher, batches):
    student = copy.deepcopy(teacher)
    given = {name: student.get_parameter(name).detach().numpy().copy() for name in NAMES}
    done = finish(student, teacher, batches, NAMES, kind="features", steps=30)
    assert done.after == done.before == 0 and done.steps == 30
    for name in NAMES:
        np.testing.assert_array_equal(done.values[name], given[name])
        np.testing.assert_array_equal(student.get_parameter(name).detach().numpy(), given[name])


def test_a_rate_far_too_high_is_lowered_until_it_helps(teacher, batches):
    done = finish(quantised(teacher), teacher, batches, NAMES, kind="features", steps=150, rate=5)
    assert done.after < 0.9 * done.before


def test_few_samples_are_not_learnt_by_heart(teacher, batches):
    rng = np.random.default_rng(8)
    test = torch.from_numpy(rng.standard_normal((2000, 8), np.float32))
    student = quantised(teacher)
    few = [batches[0][:8], batches[1][:8]]

    def loss():
        with torch.no_grad():
            return float((student.eval()(test) - teacher.eval()(test)).square().mean())

    before = loss()
    finish(student, teacher, few, NAMES, kind="features", steps=200)
    assert loss() < 1.02 * before


def test_what_hurts_where_nothing_was_chosen_is_undone(teacher, batches):
    student = copy.deepcopy(teacher)
    with torch.no_grad():
        student.second.bias += 1.0
    given = student.second.bias.detach().clone()
    _, judges = split(batches, 0)
    seen = [id(batches[at]) for at in judges[1::2]]
    told = {id(one): torch.full((5,), 3.0) for one in batches}  # what all but the proof ask for
    told |= dict.fromkeys(seen, torch.full((5,), 1.0))

    def loss(output, batch):
        return ((output - teacher(batch)) - told[id(batch)]).square().mean()

    done = finish(student, teacher, batches, ["second.bias"], kind="features", loss=loss, steps=90)
    assert "took more than it gave" in done.note and done.after == done.before
    assert (student.second.bias == given).all()


def test_recurrent_layers_take_fewer_steps():
    layer = torch.nn.LSTM(8, 512, batch_first=True)
    held = 2 * 4 * sum(one.numel() for one in layer.parameters())
    assert work(layer, torch.zeros(4, 32, 8)) == held * 4 * 32
    assert affordable_steps(layer, torch.zeros(64, 100, 8)) == 50


def test_a_single_sample_tunes_nothing_and_says_so(teacher, batches):
    done = finish(quantised(teacher), teacher, [batches[0][:1]], NAMES, kind="features")
    assert done.steps == 0 and done.after == done.before > 0
    assert "single sample" in done.note


def test_a_loss_that_breaks_ends_it_with_the_best_so_far(teacher, batches):
    calls = iter(range(10_000))

    def loss(output, batch):
        mean = output.square().mean()
        return mean * float("nan") if next(calls) >= 60 else mean

    done = finish(quantised(teacher), teacher, batches, NAMES, kind="features", loss=loss, steps=90)
    assert "stopped at step" in done.note and 0 < done.steps < 90
    assert np.isfinite(done.after) and done.after < done.before
    assert all(np.isfinite(value).all() for value in done.values.values())


def test_seconds_end_it_sooner(teacher, batches):
    done = finish(
        quantised(teacher), teacher, batches, NAMES, kind="features", steps=10**9, seconds=0.2
    )
    assert 0 < done.steps < 10**6 and done.after <= done.before


def test_tied_parameters_are_tuned_once_and_go_by_each_name(teacher, batches):
    for net in (teacher, student := quantised(teacher)):
        net.norm.bias = net.first.bias
    done = finish(student, teacher, batches, ["first.bias", "norm.bias"], kind="logits", steps=40)
    np.testing.assert_array_equal(done.values["first.bias"], done.values["norm.bias"])
    assert done.after < done.before


def test_half_precision_is_tuned_through_masters(teacher, batches):
    teacher, student = teacher.to(torch.bfloat16), quantised(teacher).to(torch.bfloat16)
    halves = [batch.to(torch.bfloat16) for batch in batches]
    done = finish(student, teacher, halves, NAMES, kind="features", steps=100)
    assert done.after < 0.95 * done.before
    value = torch.from_numpy(done.values["second.bias"])
    assert (value.to(torch.bfloat16).float() == value).all()


def test_names_are_checked(teacher, batches):
    with pytest.raises(ArgumentError, match=r"second\.bais is no parameter; nearest: second\.bias"):
        finish(quantised(teacher), teacher, batches, ["second.bais"], kind="logits")
    with pytest.raises(ArgumentError, match="no batches"):
        finish(quantised(teacher), teacher, [], NAMES, kind="logits")
    done = finish(
        quantised(teacher), teacher, batches, ["norm.running_mean"], kind="logits", steps=5
    )
    assert done.values == {} and "1 buffers" in done.note


def test_padding_does_not_count():
    output = torch.arange(24.0).reshape(2, 3, 4)
    batch = {"attention_mask": torch.tensor([[1, 1, 0], [1, 0, 0]])}
    assert vectors(output, batch, "features").tolist() == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [12, 13, 14, 15],
    ]
    assert vectors(output, {}, "features").shape == (6, 4)
    assert vectors((output[0], None), output, "features").shape == (3, 4)


def test_classes_of_images_are_the_second_axis():
    output = torch.randn(2, 7, 3, 5)
    assert vectors(output, output, "logits").shape == (2 * 3 * 5, 7)


def test_a_forbidden_class_does_not_make_the_loss_nan():
    forbidden = torch.tensor([[0.0, 1.0, -torch.inf]])
    assert float(Distance("logits")(forbidden, forbidden)) == 0


def test_parameters_that_reach_no_output_are_told(teacher, batches):
    for net in (teacher, student := quantised(teacher)):
        net.unused = torch.nn.Linear(3, 3)
    done = finish(student, teacher, batches, ["unused.bias"], kind="logits", steps=9)
    assert done.steps == 0 and "depend on none" in done.note


def test_the_distances_by_hand():
    a, b = torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 5.0]])
    assert float(Distance.beside("features", [a])(b, a)) == pytest.approx(1 / 25)
    unit, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    assert float(Distance.beside("features", [unit])(other, unit)) == pytest.approx(1 - 0.6)
    p, q = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])
    nats = 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    kl = Distance("logits")
    assert float(kl(q.log()[None], p.log()[None])) == pytest.approx(nats, rel=1e-5)
    single = torch.logit(p[1]).reshape(1, 1)
    assert float(kl(torch.zeros(1, 1), single)) == pytest.approx(nats, rel=1e-5)


class Masked(torch.nn.Module):
    def forward(self, ids, mask, flag):
        return ids * mask if flag else ids


def test_few_batches_are_cut_and_some_of_each_length_set_aside():
    batch = {"ids": torch.zeros(16, 4), "mask": torch.ones(16, 4), "flag": True}
    held, _ = hold([batch], Masked())
    assert len(held) == 10 and sum(samples(one) for one in held) == 16
    tuned, judges = split([torch.zeros(64, length) for length in range(1, 41)], seed=1)
    assert sorted([*tuned, *judges]) == list(range(40)) and len(judges) == 4
    assert [index // 10 for index in judges] == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["logits", "features"])
def test_a_distance_in_slices_is_that_of_all_at_once(kind, monkeypatch):
    from taut.networks import output_vectors

    generator = torch.Generator().manual_seed(0)
    original, z = (torch.randn(9, 5, generator=generator) for _ in range(2))
    original[2, 3] = -torch.inf if kind == "logits" else 0
    distance = Distance(kind, 2.0)
    whole = z.clone().requires_grad_()
    loss = distance(whole, original)
    loss.backward()
    monkeypatch.setattr(output_vectors, "_SLICE", 10)
    parts = z.clone().requires_grad_()
    found = distance(parts, original)
    (3 * found).backward()
    torch.testing.assert_close(found, loss)
    torch.testing.assert_close(parts.grad, 3 * whole.grad)
    with torch.no_grad():
        torch.testing.assert_close(distance(z, original), loss)
