"""Distillation: the published formulas, teachers of many kinds, and those that cannot teach."""

import copy
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut.errors import ArgumentError  # noqa: E402
from taut.training.distill import (  # noqa: E402
    Lesson,
    distillation_loss,
    evaluating,
    feature_loss,
    outputs_of,
)
from taut.transform.settings import Distill  # noqa: E402


def classifier(width=16, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(8, width), nn.ReLU())
    net.add_module("fc", nn.Linear(width, 5))
    return net


def given(seed=1):
    return torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_kl_of_softened_logits_times_t_squared():
    student, teacher = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[0.0, 3.0, 1.0]])
    temperature = 4.0
    p = [math.exp(z / temperature) for z in teacher[0].tolist()]
    q = [math.exp(z / temperature) for z in student[0].tolist()]
    p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
    by_hand = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) * temperature**2
    assert distillation_loss(student, teacher, temperature).item() == pytest.approx(by_hand)


def test_gradients_are_as_large_at_any_temperature():
    """For large T they tend to (z - v) / N (Hinton et al., equation 4, times T^2)."""
    teacher = torch.tensor([[0.3, -0.2, -0.1]])
    student = torch.tensor([[-0.5, 0.4, 0.1]], requires_grad=True)
    distillation_loss(student, teacher, 100.0).backward()
    assert torch.allclose(student.grad, (student.detach() - teacher) / 3, atol=2e-3)


def test_positions_count_alike_whatever_the_shape():
    student, teacher = torch.randn(4, 7, 9), torch.randn(4, 7, 9)
    flat = distillation_loss(student.reshape(28, 9), teacher.reshape(28, 9), 2.0)
    assert torch.allclose(distillation_loss(student, teacher, 2.0), flat)


def test_task_and_teacher_are_weighed():
    student, teacher, x = classifier(seed=0), classifier(seed=1), given()
    lesson = Lesson(student, teacher, Distill(weight=0.75, temperature=3.0))
    output = student(x)
    found = lesson.loss(torch.tensor(2.0))
    kl = distillation_loss(output, teacher(x), 3.0)
    assert found.item() == pytest.approx(0.25 * 2.0 + 0.75 * kl.item(), rel=1e-5)
    assert lesson.loss(None).item() == pytest.approx(kl.item(), rel=1e-5)


def test_outputs_that_are_no_logits_are_matched_as_they_are():
    net, other = nn.LayerNorm(8), nn.LayerNorm(8)
    with torch.no_grad():
        other.weight.mul_(2.0)
    lesson = Lesson(net, other, Distill())
    net(given())
    assert lesson.loss(None).item() == pytest.approx(0.25)  # (1 - 2)^2 / 2^2


def test_features_are_matched_with_gradients_from_the_first_batch():
    student, teacher, x = classifier(seed=0), classifier(seed=1), given()
    settings = Distill(weight=0.5, features=("0",), feature_weight=3.0)
    lesson = Lesson(student, teacher, settings)
    output = student(x)
    found = lesson.loss(torch.zeros(()))
    plain = 0.5 * distillation_loss(output, teacher(x), 2.0)
    wanted = plain + 3.0 * feature_loss(student[0](x), teacher[0](x))
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    (slope,) = torch.autograd.grad(found, student[0].weight, retain_graph=True)
    (right,) = torch.autograd.grad(wanted, student[0].weight)
    assert torch.allclose(slope, right, atol=1e-6)


def test_telling_what_outputs_are_leaves_no_trace():
    """Statistics and random numbers are as if the network had run once."""
    runs = []
    for ask in (False, True):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        net.add_module("fc", nn.Linear(8, 5))
        lesson = Lesson(net, classifier(), Distill())
        net.train()
        net(given())
        if ask:
            lesson.loss(None)
        runs.append((net[1].running_mean.clone(), net[1].num_batches_tracked, torch.rand(3)))
        assert net[2].training
    assert torch.equal(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1] == 1
    assert torch.equal(runs[0][2], runs[1][2])


def test_a_teacher_may_be_any_function_or_another_architecture():
    student, x = classifier(), given()
    wide = classifier(width=64, seed=3)
    for teacher in (wide, lambda x: wide(x), lambda x: {"logits": wide(x)}):
        lesson = Lesson(student, teacher, Distill())
        output = student(x)
        wanted = distillation_loss(output, wide(x), 2.0)
        assert lesson.loss(None).item() == pytest.approx(wanted.item(), rel=1e-5)
        lesson.close()


def test_a_teacher_learns_nothing():
    student, teacher = classifier(), classifier(seed=1)
    lesson = Lesson(student, teacher, Distill())
    student(given())
    lesson.loss(None).backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


def test_a_teacher_with_other_outputs_is_refused():
    student = classifier()
    lesson = Lesson(student, nn.Linear(8, 7), Distill())
    student(given())
    with pytest.raises(ArgumentError, match=r"teacher: gives outputs of shape \[6, 7\].*\[6, 5\]"):
        lesson.loss(None)


def test_a_teacher_that_gives_no_tensor_is_refused():
    student = classifier()
    lesson = Lesson(student, lambda x: "five", Distill())
    student(given())
    with pytest.raises(ArgumentError, match="a str, in which no tensor"):
        lesson.loss(None)


def test_features_that_are_not_there_are_named():
    student, teacher = classifier(), classifier()
    with pytest.raises(ArgumentError, match=r'the student has no module "fcc".*fc'):
        Lesson(student, teacher, Distill(features=("fcc",)))
    with pytest.raises(ArgumentError, match="want a teacher that is"):
        Lesson(student, lambda x: x, Distill(features=("fc",)))
    with pytest.raises(ArgumentError, match='the teacher has no module "fc"'):
        Lesson(student, nn.Linear(8, 5), Distill(features=("fc",)))


def test_features_of_modules_that_do_not_run_are_named():
    student, teacher = classifier(), classifier()
    for net in (student, teacher):
        net.fc.add_module("aside", nn.Linear(2, 2))
    lesson = Lesson(student, teacher, Distill(features=("fc.aside",)))
    student(given())
    with pytest.raises(ArgumentError, match=r'"fc\.aside" did not run on the batch'):
        lesson.loss(None)


def test_features_of_other_widths_are_refused_in_words():
    student, teacher = classifier(16), classifier(32)
    lesson = Lesson(student, teacher, Distill(features=("0",)))
    student(given())
    with pytest.raises(ArgumentError, match=r'"0" gives \[6, 16\], the teacher.*\[6, 32\]'):
        lesson.loss(None)


def test_asking_before_the_model_ran_is_refused():
    lesson = Lesson(classifier(), classifier(), Distill())
    with pytest.raises(ArgumentError, match="before the model had run"):
        lesson.loss(torch.zeros(()))


def test_the_output_is_found_in_what_networks_give():
    logits = torch.ones(2, 3)
    assert outputs_of({"loss": logits}) is logits
    assert outputs_of((torch.arange(3), logits)) is logits
    with pytest.raises(ArgumentError):
        outputs_of({"a": "text"})


def test_a_teacher_evaluates_and_is_put_back():
    net = nn.Sequential(nn.Dropout(), nn.Linear(2, 2))
    net.train()
    net[0].eval()
    with pytest.raises(ValueError), evaluating(net):
        assert not net.training and not net[1].training
        raise ValueError
    assert net.training and net[1].training and not net[0].training


class Many(nn.Module):
    """Two heads on one trunk; `shape` makes of their outputs what networks give."""

    def __init__(self, shape, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.trunk, self.fc, self.box, self.shape = *(nn.Linear(8, 8) for _ in range(3)), shape

    def forward(self, x):
        h = self.trunk(x).relu()
        return self.shape(self.fc(h), self.box(h))


@dataclass
class Found:
    logits: torch.Tensor
    box: torch.Tensor


class Given(OrderedDict):
    """As those of transformers: a dict with attributes."""

    def __getattr__(self, name):
        return self[name]


SHAPES = {
    "tuple": lambda a, b: (a, b),
    "list with others": lambda a, b: [torch.arange(3), a, None, "name", b],
    "dict": lambda a, b: {"loss": a.sum(), "a": a, "b": b},
    "nested": lambda a, b: {"heads": [a, {"box": (b,)}]},
    "dataclass": lambda a, b: Found(a, b),
    "namedtuple": lambda a, b: namedtuple("Out", "box logits")(b, a),
    "dict with attributes": lambda a, b: Given(box=b, logits=a),
    "object": lambda a, b: SimpleNamespace(logits=a, box=b, cache=[a]),
}


@pytest.mark.parametrize("kind", SHAPES)
def test_every_output_is_taught_logits_as_such(kind):
    student, teacher = Many(SHAPES[kind], 0), Many(SHAPES[kind], 1)
    plain = [Many(SHAPES["tuple"], seed) for seed in (0, 1)]
    lesson = Lesson(student, teacher, Distill(temperature=2.0))
    student(given())
    found = lesson.loss(None)
    (a, b), (c, d) = plain[0](given()), plain[1](given())
    wanted = (distillation_loss(a, c, 2.0) + feature_loss(b, d)) / 2
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    found.backward()
    assert student.box.weight.grad.any() and student.fc.weight.grad.any()
    assert lesson.notes == []


def test_outputs_that_the_teacher_has_not_are_named():
    student = Many(SHAPES["dict"])
    lesson = Lesson(student, lambda x: Many(SHAPES["dict"], 1)(x)["a"], Distill())
    for _ in range(2):
        student(given())
        lesson.loss(None)
    (note,) = lesson.notes
    assert 'no output "b"' in note


def test_complex_outputs_are_taught():
    student, other = nn.Linear(8, 4), nn.Linear(8, 4)
    for shape in (lambda z: z, lambda z: (z.real, z)):
        net = nn.Sequential(student)
        net.register_forward_hook(lambda _, __, z, shape=shape: shape(torch.fft.rfft(z)))
        lesson = Lesson(net, lambda x, shape=shape: shape(torch.fft.rfft(other(x))), Distill())
        net(given())
        (slope,) = torch.autograd.grad(lesson.loss(None), student.weight)
        assert slope.any()


def test_classes_are_on_the_axis_that_the_output_or_the_targets_tell():
    z, v = torch.randn(2, 5, 4, 3), torch.randn(2, 5, 4, 3)
    rows, aims = (one.movedim(1, -1).reshape(-1, 5) for one in (z, v))
    image = distillation_loss(rows, aims, 2.0).item()
    assert distillation_loss(z, v, 2.0).item() == pytest.approx(image)
    net = nn.Conv2d(5, 5, 1)
    lesson = Lesson(net, lambda x: v, Distill())
    output = net(z)
    features = feature_loss(output, v).item()
    assert lesson.loss(None).item() == pytest.approx(features)  # a convolution's may be anything
    lesson.classes_on(1)
    rows = output.movedim(1, -1).reshape(-1, 5)
    assert lesson.loss(None).item() == pytest.approx(distillation_loss(rows, aims, 2.0).item())


def test_a_linear_head_has_its_classes_last_in_images_too():
    net, x = classifier(), torch.randn(2, 3, 4, 8)
    aim = torch.randn(2, 3, 4, 5)
    lesson = Lesson(net, lambda x: aim, Distill())
    wanted = distillation_loss(net(x).reshape(-1, 5), aim.reshape(-1, 5), 2.0)
    assert lesson.loss(None).item() == pytest.approx(wanted.item(), rel=1e-5)


def test_forbidden_classes_and_infinite_features_have_no_nan():
    z = torch.tensor([[0.0, 1.0, -math.inf]], requires_grad=True)
    v = torch.tensor([[1.0, 0.0, -math.inf]])
    two = distillation_loss(z[:, :2], v[:, :2]).item()
    assert distillation_loss(z, v).item() == pytest.approx(two)
    (slope,) = torch.autograd.grad(feature_loss(z, v), z)
    assert torch.isfinite(slope).all() and slope[0, :2].all()


def test_a_teacher_that_fails_is_told_with_the_batch():
    student = classifier()
    lesson = Lesson(student, lambda x: {}["no"], Distill())
    student(given())
    told = r"teacher: failed: KeyError: 'no' in line \d+ of test_distill.*float32 \[6, 8\]"
    with pytest.raises(ArgumentError, match=told):
        lesson.loss(None)


class Scaled(nn.Module):
    """An input in order, which is changed in place, and one by name."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 5)

    def forward(self, x, *, scale):
        return self.fc(x.mul_(0.5)) * scale


def test_a_teacher_is_called_with_what_the_student_was():
    """In order and by name, before the student or a hook of it changed anything."""
    net = Scaled()
    net.register_forward_pre_hook(lambda _, given: (given[0] + 1,))
    lesson = Lesson(net, copy.deepcopy(net), Distill())
    net(given(), scale=2.0)
    assert lesson.loss(None).item() == pytest.approx(0.0, abs=1e-6)
