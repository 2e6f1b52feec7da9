"""Batches as people have them: what the network takes of each, and the target."""

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut.training import parts_of  # noqa: E402


def taking(forward):
    net = nn.Module()
    net.forward = forward
    return net


def one(pixel_values):
    pass


def labelled(pixel_values, labels=None):
    pass


def two(a, b, scale=1.0):
    pass


def all_of_it(*given, **named):
    pass


PACKED = nn.utils.rnn.pack_sequence([torch.ones(2, 3)])
BATCHES = {
    "input": (one, "x", ("x", None)),
    "pair": (one, ("x", "y"), ("x", "y")),
    "pair of a list": (all_of_it, ["x", "y"], ("x", "y")),
    "dict and target": (labelled, ({"pixel_values": "x"}, "y"), ({"pixel_values": "x"}, "y")),
    "two inputs": (two, ("a", "b"), (("a", "b"), None)),
    "two inputs and target": (lambda a, b: None, ("a", "b", "y"), (("a", "b"), "y")),
    "two targets": (one, ("x", "y", "z"), ("x", ("y", "z"))),
    "three inputs": (two, ("a", "b", "c"), (("a", "b", "c"), None)),
    "many inputs": (all_of_it, ("a", "b", "c"), (("a", "b", "c"), None)),
    "labels are taken": (
        labelled,
        {"pixel_values": "x", "labels": "y"},
        ({"pixel_values": "x", "labels": "y"}, "y"),
    ),
    "labels are not": (one, {"pixel_values": "x", "labels": "y"}, ({"pixel_values": "x"}, "y")),
    "label first": (one, {"label": "y", "pixel_values": "x"}, ({"pixel_values": "x"}, "y")),
    "x and y": (one, {"y": "y", "x": "x"}, ("x", "y")),
    "y is an input": (lambda x, y: None, {"x": "x", "y": "y"}, ({"x": "x", "y": "y"}, None)),
    "no target": (one, {"pixel_values": "x"}, ({"pixel_values": "x"}, None)),
    "what is foreign stays": (one, {"x": "x", "idx": 1}, ({"x": "x", "idx": 1}, None)),
    "what else there is": (
        one,
        {"pixel_values": "x", "id": 1, "name": "n", "y": "y"},
        ({"pixel_values": "x"}, "y"),
    ),
    "packed sequence": (one, PACKED, (PACKED, None)),
    "packed sequence and target": (one, (PACKED, "y"), (PACKED, "y")),
    "anything": (all_of_it, {"x": "x", "labels": "y"}, ({"x": "x", "labels": "y"}, "y")),
}  # fmt: skip


@pytest.mark.parametrize("kind", BATCHES)
def test_parts_go_by_what_forward_takes(kind):
    forward, batch, wanted = BATCHES[kind]
    assert parts_of(batch, taking(forward)) == wanted


def test_a_sequential_takes_whatever_its_input_is_called():
    net = nn.Sequential(nn.Linear(2, 2))
    assert parts_of({"image": "x", "label": "y"}, net) == ("x", "y")
