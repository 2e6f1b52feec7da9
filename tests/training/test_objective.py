"""The loss that a loop is given: its parts, its schedules, and what it refuses."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut.errors import ArgumentError  # noqa: E402
from taut.scheme import Scheme  # noqa: E402
from taut.training.budget import Budget  # noqa: E402
from taut.training.objective import Objective  # noqa: E402
from taut.training.sparsify import Sparsifier  # noqa: E402
from taut.training.student import make_student  # noqa: E402
from taut.transform.settings import Masking, Training  # noqa: E402


@pytest.fixture
def student():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16, bias=False))
    return make_student(net, {"0.weight": Scheme("rd")})


def test_the_loss_is_the_task_and_the_price_of_the_bits(student):
    budget = Budget(target=100.0, ramp=0.5)
    loss = Objective(student, Training(), budget=budget)
    first = loss(student.module(torch.ones(2, 16)).sum())
    before = float(first.detach())  # nothing has a price before a gradient came to it
    assert before == pytest.approx(float(student.module(torch.ones(2, 16)).sum().detach()))
    first.backward()
    student.module.zero_grad()
    found = loss(torch.tensor(3.0))
    bits = student.twins[0].bits().detach()
    assert budget.price > 0 and budget.spent == pytest.approx(student.twins[0].estimate.bits)
    assert found.item() == pytest.approx(3.0 + budget.price * float(bits), rel=1e-6)
    found.backward()
    assert student.twins[0].original.grad.abs().sum() > 0


def test_without_a_budget_it_is_the_task_alone(student):
    task = torch.tensor(3.0, requires_grad=True)
    assert Objective(student, Training())(task) is task


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (3.0, "given a float; it takes the task's loss, a scalar tensor"),
        (torch.ones(2), r"a scalar tensor"),
        ("high", "given a str"),
        (torch.tensor(float("nan")), "the loss is nan at step 1"),
        (torch.tensor(float("inf")), "the loss is inf at step 1"),
        (None, "without a teacher the loss wants the task's"),
    ],
)
def test_what_is_no_loss_is_refused(student, task, told):
    with pytest.raises(ArgumentError, match=told):
        Objective(student, Training())(task)


def test_the_step_of_a_loss_that_is_not_finite_is_told(student):
    loss = Objective(student, Training())
    for _ in range(4):
        loss(torch.tensor(1.0))
    with pytest.raises(ArgumentError, match="at step 5; a lower lr"):
        loss(torch.tensor(float("nan")))


def test_schedules_go_by_calls_or_by_what_the_loop_says(student):
    for said in (False, True):
        masks = Sparsifier(student, {"0.weight": Masking(sparsity=0.5, end=0.5)})
        loss = Objective(student, Training(), sparsifier=masks)
        loss.total = 8
        for number in range(4):
            loss(torch.tensor(1.0), *([number / 100] if said else []))
        loss(torch.tensor(1.0), *([0.5] if said else []))
        assert not masks.final  # before the network runs again
        student.module(torch.ones(2, 16))
        assert masks.final and loss.finish() is None


def test_a_loop_that_ends_early_gets_its_masks_and_a_note(student):
    masks = Sparsifier(student, {"0.weight": Masking(sparsity=0.75)})
    loss = Objective(student, Training(), sparsifier=masks)
    for _ in range(10):  # of 1,000 that it is taken to make
        loss(torch.tensor(1.0))
    note = loss.finish()
    assert "after the last of 10 calls" in note and "loss.total" in note
    assert int(student.twins[0].quant.mask.sum()) == 64


def test_the_file_is_measured_now_and_then_and_corrects_the_estimate(student):
    budget = Budget(target=1000.0, ramp=0.5)
    loss = Objective(student, Training(), budget=budget)
    loss.total, asked = 1000, []
    loss.measure = lambda: asked.append(loss.calls) or budget.spent + 777.0
    budget.spent = student.twins[0].refresh()
    for _ in range(1000):
        loss(torch.tensor(1.0))
    assert budget.other == pytest.approx(777, abs=1)
    assert len(asked) == 25
