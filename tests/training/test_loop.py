"""The built-in loop: what it takes, that it does what a hand-written one would, what it refuses."""

import math

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut import compress  # noqa: E402
from taut.errors import ArgumentError  # noqa: E402
from taut.scheme import Scheme  # noqa: E402
from taut.training.distill import Lesson  # noqa: E402
from taut.training.loop import Fit  # noqa: E402
from taut.training.objective import Objective  # noqa: E402
from taut.training.student import make_student  # noqa: E402
from taut.transform.settings import Distill, Training  # noqa: E402


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))


def data(count=8, size=4):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, size, 6, generator=generator)
    return [(x, (x[:, :3]).argmax(1)) for x in inputs]


def plain(**settings):
    return Training(**{"distill": None, "bits": False, "warmup": 0.0, **settings})


def objective(net, training, teacher=None):
    student = make_student(net, {})
    lesson = None if teacher is None else Lesson(net, teacher, training.distill or Distill())
    return Objective(student, training, lesson)


def fitted(batches, training, net=None, teacher=None, **options):
    net = net or network()
    loss = objective(net, training, teacher)
    Fit(batches, training, **options)(net, loss)
    return net, loss


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_it_does_what_a_loop_by_hand_does():
    training = plain(epochs=3, optimizer="sgd", lr=0.1, momentum=0.0, warmup=0.25)
    net, loss = fitted(data(4), training)
    own = network()
    for step in range(12):
        x, y = data(4)[step % 4]
        own.zero_grad()
        nn.functional.cross_entropy(own(x), y).backward()
        warm = min(1.0, (step + 1) / 3)  # a quarter of twelve steps
        rate = 0.1 * warm * 0.5 * (1 + math.cos(math.pi * step / 12))
        with torch.no_grad():
            for parameter in own.parameters():
                parameter -= rate * parameter.grad
    assert torch.allclose(weights(net), weights(own), atol=1e-6)
    assert loss.calls == loss.total == 12
    assert not net.training


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_task_is_learnt(optimizer):
    net, _ = fitted(data(16), plain(epochs=30, optimizer=optimizer, lr=0.02))
    right = [float((net(x).argmax(1) == y).float().mean()) for x, y in data(16)]
    assert sum(right) / 16 > 0.9


def test_accumulated_batches_are_one_large_batch():
    settings = {"epochs": 2, "optimizer": "sgd", "lr": 0.1}
    small, _ = fitted(data(8, 4), plain(accumulate=4, **settings))
    joined = [
        (torch.cat([x for x, _ in part]), torch.cat([y for _, y in part]))
        for part in (data(8, 4)[:4], data(8, 4)[4:])
    ]
    large, _ = fitted(joined, plain(**settings))
    assert torch.allclose(weights(small), weights(large), atol=1e-6)


def test_gradients_are_clipped():
    net = network()
    before = weights(net)
    big = [(1e3 * x, y) for x, y in data(1)]
    clipped, _ = fitted(big, plain(epochs=1, optimizer="sgd", lr=1.0, momentum=0, clip=0.01), net)
    assert float((weights(clipped) - before).norm()) == pytest.approx(0.01, rel=1e-3)


def test_patience_ends_it_when_the_loss_stays():
    settings = {"optimizer": "sgd", "lr": 1e-12, "patience": 3}
    _, loss = fitted(data(2), plain(epochs=50, **settings))
    assert loss.calls == 2 * (1 + 3)


def test_batches_may_be_anew_for_each_epoch():
    epochs = []

    def batches():
        epochs.append(1)
        return iter(data(3))

    _, loss = fitted(batches, plain(epochs=4))
    assert loss.calls == 12
    assert len(epochs) == 5  # and once to count


def test_an_epoch_shorter_than_the_first_still_takes_its_last_step():
    lengths = iter([4, 4, 3])
    net, loss = fitted(
        lambda: data(8)[: next(lengths)],
        plain(epochs=2, accumulate=2, optimizer="sgd", momentum=0, lr=0.1),
    )
    assert loss.calls == 7
    assert all(p.grad is None for p in net.parameters())


def test_what_gives_its_batches_once_is_held_or_refused():
    """An iterator is gone through before; what a function gives over and over cannot be."""
    _, loss = fitted((pair for pair in data(3)), plain(epochs=2))
    assert loss.calls == 6
    used = iter(data(3))
    assert len(list(used)) == 3
    with pytest.raises(ArgumentError, match="no batches: the list_iterator has none, or is used"):
        fitted(used, plain(epochs=2))
    with pytest.raises(ArgumentError, match="used up after one pass; give a list, or a function"):
        fitted(lambda: used, plain(epochs=2))


class Labelled(nn.Module):
    """Takes a dict, as those of Hugging Face do, and may give the loss itself."""

    def __init__(self, own: bool) -> None:
        super().__init__()
        self.fc, self.own = nn.Linear(6, 3), own

    def forward(self, inputs, labels):
        logits = self.fc(inputs)
        if not self.own:
            return {"logits": logits}
        return {"loss": 2 * nn.functional.cross_entropy(logits, labels), "logits": logits}


@pytest.mark.parametrize("own", [False, True])
def test_dicts_have_labels_or_the_output_its_loss(own):
    torch.manual_seed(0)
    net = Labelled(own)
    x, y = data(1)[0]
    task = nn.functional.cross_entropy(net.fc(x), y).item() * (2 if own else 1)
    told = []
    fitted(
        [{"inputs": x, "labels": y}],
        plain(epochs=1),
        net,
        progress=lambda stage, done, total: told.append((stage, done, total)),
    )
    ((stage, *done),) = told
    assert float(stage.split()[-1]) == pytest.approx(task, abs=1e-3) and done == [1, 1]


def test_targets_of_floats_are_regressed_and_must_fit():
    torch.manual_seed(0)
    net = nn.Linear(6, 1)
    x = torch.randn(8, 6)
    y = x.sum(1)  # shape (8,), the outputs' is (8, 1): not to be spread over each other
    fitted([(x, y)] * 20, plain(epochs=20, lr=0.05), net)
    assert float((net(x)[:, 0] - y).detach().square().mean()) < 0.05
    with pytest.raises(ArgumentError, match=r"targets of shape \[8, 2\] do not fit.*\[8, 1\]"):
        fitted([(x, torch.ones(8, 2))], plain(epochs=1), nn.Linear(6, 1))


def test_a_loss_of_ones_own():
    seen = []

    def task(output, target):
        seen.append((output.shape, target))
        return output.square().mean()

    net, _ = fitted([(data(1)[0][0], "any")], plain(epochs=30, lr=0.05), loss=task)
    assert seen[0] == ((4, 3), "any")
    assert float(net(data(1)[0][0]).detach().square().mean()) < 1e-2


def test_inputs_alone_do_with_a_teacher_and_not_without():
    torch.manual_seed(5)
    teacher = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))
    inputs = [x for x, _ in data(16)]
    training = plain(epochs=40, lr=0.01, distill=Distill())
    net, _ = fitted(inputs, training, teacher=teacher)
    same = torch.cat([net(x).argmax(1) == teacher(x).argmax(1) for x in inputs])
    assert same.float().mean() > 0.9
    with pytest.raises(ArgumentError, match="without a teacher the loss wants the task's"):
        fitted(inputs, plain(epochs=1))


def test_bfloat16_runs_and_weights_stay_float32():
    seen = set()
    net = network()
    net[1].register_forward_hook(lambda layer, given, out: seen.add(out.dtype))
    fitted(data(), plain(epochs=2, precision="bfloat16"), net)
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert torch.isfinite(weights(net)).all()


def test_steps_have_a_rate_and_no_decay_of_their_own():
    net = network()
    student = make_student(net, {"0.weight": Scheme("int4")})
    training = plain(epochs=1, optimizer="sgd", lr=1e-9, weight_decay=0.1, momentum=0.0)
    before = student.twins[0].quant.log_step.detach().clone()
    Fit(data(), training)(net, Objective(student, training))
    moved = (student.twins[0].quant.log_step - before).abs().max()
    assert 1e-3 < float(moved) < 0.1


@pytest.mark.parametrize(
    ("batches", "told"),
    [
        ([], "there are no batches"),
        (lambda: 7, "batches are a int"),
        ([(torch.ones(4, 5), torch.zeros(4).long())], "batch 1: the model rejects it"),
        (
            [(torch.ones(4, 6), torch.full((4,), 9))],
            "batch 1: targets run from 9 to 9, and the output has 3 classes on axis 1",
        ),
        (
            [(torch.ones(4, 6), torch.zeros(5).long())],
            r"batch 1: targets of shape \[5\] do not fit outputs of \[4, 3\]",
        ),
    ],
)
def test_batches_that_do_not_fit_are_told(batches, told):
    with pytest.raises(ArgumentError, match=told):
        fitted(batches, plain(epochs=1))


def test_a_loss_that_is_no_longer_finite_says_the_step():
    bad = data(5)
    bad[3] = (torch.full((4, 6), float("nan")), bad[3][1])
    with pytest.raises(ArgumentError, match=r"loss is nan at step 4; a lower lr or a clip helps$"):
        fitted(bad, plain(epochs=2))


def test_values_that_are_no_numbers_are_told_by_the_weight():
    """An input that a loss hides, as its own values do not count, still spoils the gradients."""
    net = network()
    first = next(iter(net.parameters()))
    made = make_student(net, {"0.weight": Scheme("rd")})
    first.data[0, 0] = float("nan")
    with pytest.raises(ArgumentError, match=r'"0.weight" has NaN or infinite values after 0'):
        Objective(made, Training()).spent()


def test_a_network_that_names_its_half_precision_is_refused_with_the_reason(tmp_path):
    class Named(nn.Linear):
        def forward(self, input):
            return super().forward(input.half())

    with pytest.raises(ArgumentError, match=r"train: batch 1: .* made float32 for training"):
        compress(Named(32, 32).half(), tmp_path / "o", bits=8, train=[torch.ones(4, 32)] * 2)


def test_batches_without_samples_are_passed_over_and_what_is_not_taken_is_told():
    empty = (torch.ones(0, 6), torch.ones(0).long())
    assert fitted([*data(4), empty], plain(epochs=1))
    with pytest.raises(ArgumentError, match="have no samples in them"):
        fitted([empty, empty], plain(epochs=1))


def test_entries_that_the_network_does_not_take_are_left_out_and_told(tmp_path):
    net = nn.Bilinear(32, 32, 8)
    batches = [{"input1": torch.ones(4, 32), "input2": torch.ones(4, 32), "id": [1]}] * 2
    done = compress(net, tmp_path / "o", bits=8, train=batches, epochs=1)
    assert [note for note in done.notes if '"id" of each batch' in note]
