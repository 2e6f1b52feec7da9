"""The task's loss by what targets are: each as the loss of torch that is meant for it."""

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from taut.errors import ArgumentError  # noqa: E402
from taut.training import task_loss  # noqa: E402
from taut.training.task import TaskLoss  # noqa: E402


def normal(*shape):
    return 5 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def drawn(high, *shape):
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(1))


SHAPES = {  # logits, targets, the axis of classes
    "classes": ((6, 5), (6,), 1),
    "one sample": ((5,), (), 0),
    "image": ((2, 5, 4, 3), (2, 4, 3), 1),
    "square image": ((2, 4, 4, 4), (2, 4, 4), 1),
    "image, classes last": ((2, 4, 3, 5), (2, 4, 3), 3),
    "volume": ((2, 5, 2, 3, 4), (2, 2, 3, 4), 1),
    "sequence": ((2, 7, 5), (2, 7), 2),
    "square sequence": ((2, 5, 5), (2, 5), 2),
    "sequence, classes first": ((2, 5, 7), (2, 7), 1),
    "flat targets": ((2, 7, 5), (14,), 2),
    "targets of one column": ((6, 5), (6, 1), 1),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_integers_are_classes_on_the_axis_that_they_leave_out(kind):
    shape, targets, axis = SHAPES[kind]
    z, y = normal(*shape), drawn(shape[axis], *targets)
    y.view(-1)[0] = -100 if y.numel() > 1 else 1
    by_hand = functional.cross_entropy(z.movedim(axis, -1).reshape(-1, shape[axis]), y.reshape(-1))
    assert task_loss(z, y).item() == pytest.approx(by_hand.item(), rel=1e-6)


@pytest.mark.parametrize("targets", [(6,), (6, 1)])
@pytest.mark.parametrize("outputs", [(6,), (6, 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.uint8])
def test_one_logit_for_each_target_is_a_yes_or_no(outputs, targets, dtype):
    z, y = normal(*outputs), drawn(2, *targets).to(dtype)
    wanted = functional.binary_cross_entropy_with_logits(z.flatten(), y.flatten().float())
    assert task_loss(z, y).item() == pytest.approx(wanted.item())
    ignored = torch.where(torch.arange(6) < 2, -100, y.flatten().long()).reshape(targets)
    wanted = functional.binary_cross_entropy_with_logits(z.flatten()[2:], y.flatten()[2:].float())
    assert task_loss(z, ignored).item() == pytest.approx(wanted.item())


def test_what_is_ignored_altogether_has_no_loss_and_no_nan():
    for z, y in ((normal(4, 5), torch.full((4,), -100)), (normal(4), torch.full((4,), -100))):
        loss = task_loss(z.requires_grad_(), y)
        loss.backward()
        assert loss.item() == 0 and not z.grad.any()


def test_floats_are_values_unless_the_network_agrees_that_they_are_chances():
    y = drawn(5, 40)
    hard, soft = torch.eye(5)[y], 0.8 * torch.eye(5)[y] + 0.04
    logits = 8 * torch.eye(5)[y] + 0.1 * normal(40, 5)
    for chances in (hard, soft):
        wanted = functional.cross_entropy(logits, chances).item()
        assert task_loss(logits, chances).item() == pytest.approx(wanted)
        near = chances + 0.01 * normal(40, 5)  # a network that was taught to give the values
        wanted = functional.mse_loss(near, chances).item()
        assert task_loss(near, chances).item() == pytest.approx(wanted)
    image = logits.reshape(2, 4, 5, 5).movedim(-1, 1)
    wanted = functional.cross_entropy(logits, soft).item()
    found = task_loss(image, soft.reshape(2, 4, 5, 5).movedim(-1, 1))
    assert found.item() == pytest.approx(wanted)


def test_floats_of_zeros_and_ones_are_decisions_of_a_network_that_gives_logits():
    y = drawn(2, 40, 3).float()
    logits = 8 * (2 * y - 1) + 0.1 * normal(40, 3)
    wanted = functional.binary_cross_entropy_with_logits(logits, y).item()
    assert task_loss(logits, y).item() == pytest.approx(wanted)
    assert task_loss(logits[:, 0], y[:, :1]).item() == pytest.approx(
        functional.binary_cross_entropy_with_logits(logits[:, 0], y[:, 0]).item()
    )
    for values in (logits.sigmoid(), y + 0.05 * normal(40, 3)):
        assert task_loss(values, y).item() == pytest.approx(functional.mse_loss(values, y).item())


def test_a_reading_holds_for_all_batches_and_is_told():
    loss = TaskLoss()
    y = drawn(2, 40, 3).float()
    assert loss(8 * (2 * y - 1), y).item() < 0.01 and "as yes and no" in loss.said
    one = torch.eye(3)  # it could be the chances of classes too
    wanted = functional.binary_cross_entropy_with_logits(one, one).item()
    assert loss(one, one).item() == pytest.approx(wanted)
    assert loss(one, 1.5 * one).item() == pytest.approx(1 / 12) and loss.said is None


def test_an_output_may_bring_its_loss_and_targets_be_complex():
    own = torch.tensor(2.5)
    assert task_loss({"loss": own, "logits": normal(2, 3)}, drawn(3, 2)) is own
    z = torch.complex(normal(3, 4), normal(3, 4))
    assert task_loss(z, z + 1j).item() == pytest.approx(0.5)
    assert task_loss(normal(2, 3), None) is None and task_loss(normal(2, 3), [1, 2]) is None


@pytest.mark.parametrize(
    ("z", "y", "told"),
    [
        ((4, 5), torch.tensor([0, 1, 2, 5]), "run from 0 to 5, .* has 5 classes on axis 1"),
        ((2, 5, 3, 3), torch.full((2, 3, 3), 255), "run from 255 to 255, .*5 classes on axis 1"),
        ((4, 5), torch.tensor([0, 1, 2, -1]), "run from -1 to 2"),
        ((4, 1), torch.tensor([0, 1, 2, 1]), "run from 0 to 2, .* has one logit for each"),
        ((4, 5), torch.zeros(3).long(), r"of shape \[3\] do not fit outputs of \[4, 5\]"),
        ((4, 5), torch.ones(5, 4), r"of shape \[5, 4\] do not fit outputs of \[4, 5\]"),
        ((2, 3, 4, 4), torch.ones(2, 4, 4, 3), r"of shape \[2, 4, 4, 3\] do not fit"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_are_told_with_the_batch(z, y, told):
    with pytest.raises(ArgumentError, match=f"^train: batch 3: targets.*{told}"):
        TaskLoss()(normal(*z), y, "train: batch 3")
