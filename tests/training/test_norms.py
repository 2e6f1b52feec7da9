"""What is trained under the dial goes by classes and shapes: names say nothing."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.utils.parametrizations import weight_norm  # noqa: E402

from taut.scheme import Scheme  # noqa: E402
from taut.training.norms import is_norm  # noqa: E402
from taut.training.schemes import student_schemes, tensor_masks  # noqa: E402
from taut.training.student import make_student  # noqa: E402
from taut.transform.settings import Masking, Training  # noqa: E402


class NormalHead(nn.Linear):
    """A layer, whatever its name."""


class Scale(nn.Module):
    """A norm of one's own, without the word: one vector that multiplies channels."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(4))


@pytest.mark.parametrize(
    ("owner", "held"),
    [
        (nn.LayerNorm((3, 4)), True),
        (type("Plain", (nn.GroupNorm,), {})(2, 4), True),
        (nn.RMSNorm(4), True),
        (Scale(), True),
        (nn.PReLU(4), True),
        (NormalHead(4, 4), False),
        (weight_norm(nn.Linear(4, 4)), False),
        (nn.LSTM(4, 4), False),
        (nn.Sequential(nn.LayerNorm(4)), False),
    ],
    ids=lambda one: type(one).__name__,
)
def test_a_norm_is_told_by_its_class_or_by_holding_vectors_alone(owner, held):
    assert is_norm(owner) is held


def test_a_vector_that_a_layer_holds_too_is_trained():
    net = nn.ModuleDict({"scale": Scale(), "head": NormalHead(4, 4), "norm": nn.LayerNorm(4)})
    net["head"].bias = net["scale"].gain
    names = {name: name for name in net.state_dict()}
    schemes = dict.fromkeys(names, Scheme("rd"))
    assert set(student_schemes(schemes, names, net, dial=True)) == {"scale.gain", "head.weight"}


def test_a_tied_weight_is_found_by_whichever_of_its_names_the_file_has():
    net = nn.ModuleDict({"embedding": nn.Embedding(6, 4), "head": nn.Linear(4, 6, bias=False)})
    net["head"].weight = net["embedding"].weight
    sparse, names = Scheme("rd", sparsity=0.5), {"lm_head": "head.weight"}
    found = student_schemes({"lm_head": sparse}, names, net, dial=True)
    student = make_student(net, found)
    (twin,) = student.twins
    assert twin.names == ("embedding.weight", "head.weight") and student.plain == ()
    assert torch.equal(net["embedding"].weight, net["head"].weight)
    assert not torch.equal(net["embedding"].weight, twin.original)
    # The second name has no scheme of its own, and asks for no other mask.
    both = {"lm_head": "head.weight", "wte": "embedding.weight"}
    masks = tensor_masks({"lm_head": sparse}, both, student, Training(mask=Masking(sparsity=0.9)))
    assert {name: one.sparsity for name, one in masks.items()} == {"embedding.weight": 0.5}
