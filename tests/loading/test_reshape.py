"""Modules of the class that was pruned, made as small as a file's tensors."""

from __future__ import annotations

import copy

import pytest

from taut.errors import ArgumentError
from taut.loading.reshape import reshaped

torch = pytest.importorskip("torch")
nn = torch.nn


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, groups=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8),
        nn.GroupNorm(2, 8), nn.Flatten(), nn.LayerNorm(8, elementwise_affine=False),
        nn.Linear(8, 4),
    )  # fmt: skip


SMALL = {
    "0": {"out_channels": 4}, "1": {"num_features": 4},
    "2": {"in_channels": 4, "out_channels": 4, "groups": 4}, "3": {"num_channels": 4},
    "5": {"normalized_shape": 4}, "6": {"in_features": 4},
}  # fmt: skip
SHAPES = {
    "0.weight": (4, 3, 3, 3), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,),
    "1.running_mean": (4,), "1.running_var": (4,), "1.num_batches_tracked": (),
    "2.weight": (4, 1, 3, 3), "2.bias": (4,), "3.weight": (4,), "3.bias": (4,),
    "6.weight": (4, 4), "6.bias": (4,),
}  # fmt: skip


def same(module, other) -> bool:
    """Whether widths, and tensors with their identity, are those of `other`."""
    widths = [str(part) for part in module.modules()] == [str(part) for part in other.modules()]
    pairs = zip(module.state_dict().items(), other.state_dict().items(), strict=True)
    return widths and all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


def test_every_layer_takes_the_shapes():
    module = net()
    kept, frozen = module[6].bias, module[0].weight.requires_grad_(False)
    with reshaped(module, SHAPES, SMALL):
        pass
    assert {name: tuple(t.shape) for name, t in module.state_dict().items()} == SHAPES
    assert module[6].bias is kept  # what has its shape keeps its memory
    assert not module[0].weight.requires_grad and module[0].weight is not frozen
    assert module(torch.randn(2, 3, 5, 5)).shape == (2, 4)


def test_the_body_that_raises_leaves_the_module_as_it_was():
    module = net()
    before, weight = copy.deepcopy(module), module[0].weight
    with pytest.raises(ZeroDivisionError), reshaped(module, SHAPES, SMALL):
        assert module[0].out_channels == 4
        raise ZeroDivisionError
    assert same(module, before)
    assert module[0].weight is weight


def test_tied_weights_stay_tied_even_if_the_file_has_one_of_them():
    module = nn.ModuleDict({"a": nn.Embedding(9, 6), "b": nn.Linear(6, 9, bias=False)})
    module["b"].weight = module["a"].weight
    widths = {"a": {"embedding_dim": 3}, "b": {"in_features": 3}}
    with reshaped(module, {"b.weight": (9, 3)}, widths):
        pass
    assert module["a"].weight is module["b"].weight
    assert module["a"].weight.shape == (9, 3)


def change(tree, **changes):
    """Copy of a table of tables with some entries replaced."""
    return {name: {**found, **changes.get(f"m{name}", {})} for name, found in tree.items()}


@pytest.mark.parametrize(
    ("shapes", "modules", "message"),
    [
        (SHAPES, {**SMALL, "7": {"out_features": 2}}, 'it has no module "7"'),
        (SHAPES, change(SMALL, m0={"kernel_size": 1}), 'has no count "kernel_size"'),
        (SHAPES, change(SMALL, m0={"training": 1}), 'has no count "training"'),
        (SHAPES, change(SMALL, m0={"forward": 1}), 'has no count "forward"'),
        (SHAPES, change(SMALL, m0={"out_channels": 9}), "out_channels 8, which cannot become 9"),
        (SHAPES, change(SMALL, m0={"out_channels": 0}), "which cannot become 0"),
        (SHAPES, change(SMALL, m0={"out_channels": True}), "which cannot become True"),
        (SHAPES, change(SMALL, m2={"groups": 3}), r'"2.weight" is \[4, 1, 3, 3\]'),
        (SHAPES, {**SMALL, "5": {}, "6": {}}, r'"6.weight" is \[4, 4\], Linear.* takes \[4, 8\]'),
        ({**SHAPES, "6.weight": (4, 9)}, SMALL, r'"6.weight" \[4, 8\] cannot become \[4, 9\]'),
        ({**SHAPES, "6.weight": (4,)}, SMALL, r"cannot become \[4\]"),
        ({**SHAPES, "6.weight": (4, 0)}, SMALL, r"cannot become \[4, 0\]"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_changes(shapes, modules, message):
    module = net()
    before = copy.deepcopy(module)
    with (
        pytest.raises(ArgumentError, match=f"Sequential is not what was pruned: .*{message}"),
        reshaped(module, shapes, modules),
    ):
        pytest.fail("entered")
    assert same(module, before)


def test_a_head_cannot_be_cut():
    module = nn.MultiheadAttention(8, 2)
    widths = {"": {"embed_dim": 6}, "out_proj": {"in_features": 6, "out_features": 6}}
    shapes = {"in_proj_weight": (18, 6), "in_proj_bias": (18,), "out_proj.weight": (6, 6),
              "out_proj.bias": (6,)}  # fmt: skip
    with pytest.raises(ArgumentError, match="in_proj_weight"), reshaped(module, shapes, widths):
        pass
    assert module.embed_dim == 8


def test_layers_of_the_callers_own_making_are_left_alone():
    class Packed(nn.Linear):
        def __init__(self) -> None:
            super().__init__(8, 4)
            self.weight = nn.Parameter(torch.zeros(16))

    module = nn.Sequential(nn.Linear(5, 8), Packed())
    with reshaped(module, {"0.weight": (8, 4), "1.weight": (16,)}, {"0": {"in_features": 4}}):
        pass
    assert module[0].weight.shape == (8, 4)
