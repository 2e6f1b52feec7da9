"""The forward pass is what the decoder gives, the backward pass what the papers say."""

import numpy as np
import pytest

from taut.coding import Job, decode, encode_adaptive
from taut.errors import ArgumentError
from taut.scheme import parse_scheme
from taut.transform import Grid

torch = pytest.importorskip("torch")

from taut.training.learnt_steps import grid_of  # noqa: E402
from taut.training.student import Twin, make_student  # noqa: E402
from taut.training.trained_forms import fake_quant  # noqa: E402
from taut.training.written import _grid  # noqa: E402

SCHEMES = (
    *("rd", "int8", "int8,tensor", "int4", "int4:g8", "int3", "int2", "ternary", "binary"),
    *("codebook4", "codebook16", "fp8"),
)


def weight(shape=(12, 32), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * 0.1


def decoded(found, shape):
    """What a reader of the file gets of a grid."""
    if isinstance(found, Grid):
        coded = encode_adaptive(
            found.indices, step=found.step, levels=found.levels, low=found.low,
            scales=found.scales, zeros=found.zeros, group=found.group, dtype=np.dtype("f4"),
        )  # fmt: skip
    else:
        coded = encode_adaptive(found.values, step=found.step, dtype=np.dtype("f4"))
    out = np.empty(shape, np.float32)
    decode([Job(coded.header, coded.chunks, out)])
    return out


def made(text, values, mask=None):
    quant = fake_quant(parse_scheme(text), values, "w")
    quant.mask = mask
    return quant, Twin(("w",), parse_scheme(text), torch.nn.Parameter(values.clone()), quant)


@pytest.mark.parametrize("shape", [(12, 32), (4, 2, 4, 4), (32,)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("text", SCHEMES)
def test_forward_is_what_the_decoder_gives(text, masked, shape):
    values = weight(shape)
    mask = weight(shape, 1) > 0 if masked else None
    quant, twin = made(text, values, mask)
    with torch.no_grad():  # as after some training: not where it began
        for parameter in quant.parameters():
            parameter.mul_(1.1)
    forward = quant(twin.original).detach().numpy()
    assert np.array_equal(decoded(_grid(twin), shape), forward)
    if mask is not None:
        assert not forward[~mask.numpy()].any()
        assert forward[mask.numpy()].any()


@pytest.mark.parametrize(("text", "most"), [("int8", 255), ("int4", 15), ("int3", 7), ("int2", 3)])
def test_integers_have_no_more_levels_than_their_width(text, most):
    _, twin = made(text, weight((3, 2000)))
    values = twin.value()
    assert max(len(row.unique()) for row in values) <= most
    assert len(values[0].unique()) > most // 2


@pytest.mark.parametrize(
    ("text", "count"), [("ternary", 3), ("binary", 2), ("codebook4", 4), ("codebook16", 16)]
)
def test_few_values_are_as_few_as_promised(text, count):
    _, twin = made(text, weight((1, 3000)))
    assert len(twin.value().unique()) == count


def test_groups_have_steps_of_their_own():
    values = weight((2, 32))
    values[0, :8] *= 100
    quant, twin = made("int4:g8", values)
    assert quant.scales(values).shape == (2, 4)
    error = (twin.value() - values).square().sum() / values.square().sum()
    assert error < 0.01
    assert (twin.value() - values)[0, 8:].square().sum() < 0.05 * values[0, 8:].square().sum()


@pytest.mark.parametrize("text", SCHEMES)
def test_gradients_pass_the_rounding_as_if_it_were_not_there(text):
    values = weight()
    quant, twin = made(text, values)
    slope = weight(seed=2)
    (quant(twin.original) * slope).sum().backward()
    passed = twin.original.grad == slope
    if text.startswith("int"):
        step = quant.log_step.detach().exp()  # one, or one a row and group
        groups = 1 if step.ndim == 0 else step.shape[1]
        inside = (values.reshape(12, groups, -1) / step[..., None]).abs() <= quant.most
        assert torch.equal(passed, inside.reshape(12, 32))
        assert not twin.original.grad[~passed].any()
    elif text == "binary":
        inside = values.abs() <= 3 * values.abs().mean(1, keepdim=True)
        assert torch.equal(passed, inside)
    else:
        assert passed.all()


@pytest.mark.parametrize("text", SCHEMES)
def test_gradients_reach_weights_under_the_mask(text):
    mask = weight(seed=1) > 0
    quant, twin = made(text, weight(), mask)
    quant(twin.original).sum().backward()
    assert twin.original.grad[~mask].bool().all()


def test_the_step_learns_by_lsq():
    """round(v/s) - v/s inside, -n or n outside (Esser et al., equation 3), times s."""
    values = torch.tensor([[0.26, -0.11, 0.95, -2.0]])
    quant, twin = made("int3", values)
    with torch.no_grad():
        quant.log_step.fill_(np.log(0.2))
    slope = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    (quant(twin.original) * slope).sum().backward()
    v = values[0] / 0.2
    by_formula = torch.where(v.abs() <= 3, v.round() - v, v.round().clamp(-3, 3))
    wanted = 0.2 * float((by_formula * slope[0]).sum()) / np.sqrt(4 * 3)  # the paper's scale
    assert float(quant.log_step.grad) == pytest.approx(wanted, rel=1e-4)


def test_codebook_entries_and_ternary_magnitudes_learn_from_their_own_weights():
    values = weight((4, 50))
    for text, parameter in (("codebook4", "entries"), ("ternary", "magnitudes")):
        quant, twin = made(text, values)
        slope = weight((4, 50), 3)
        (quant(twin.original) * slope).sum().backward()
        index = quant.index(values)
        grad = getattr(quant, parameter).grad
        if text == "ternary":
            wanted = torch.stack([-slope[index < 0].sum(), slope[index > 0].sum()])
        else:
            wanted = torch.stack([slope[index == k].sum() for k in range(4)])
        assert torch.allclose(grad, wanted, atol=1e-5)


def test_a_group_that_divides_nothing_is_refused_with_the_nearest():
    with pytest.raises(ArgumentError, match=r'"fc.weight": groups of 12 .* 32 columns.*g8$'):
        fake_quant(parse_scheme("int4:g12"), weight(), "fc.weight")
    with pytest.raises(ArgumentError, match="asym"):
        fake_quant(parse_scheme("int4:g8,asym"), weight(), "fc.weight")


@pytest.mark.parametrize("text", SCHEMES)
def test_weights_that_are_all_zero_or_equal_stay_finite(text):
    for values in (torch.zeros(2, 8), torch.full((2, 8), 0.5)):
        quant, twin = made(text, values)
        quant(twin.original).sum().backward()
        assert torch.isfinite(twin.value()).all() and torch.isfinite(twin.original.grad).all()
        assert all(torch.isfinite(p.grad).all() for p in quant.parameters())
        assert np.array_equal(decoded(_grid(twin), (2, 8)), twin.value().numpy())


def test_weights_on_a_grid_keep_their_step():
    grid = torch.tensor([[-0.6, 0.0, 0.3], [0.9, 0.3, -0.3]])
    twin = make_student(linear(grid), {"weight": parse_scheme("rd")}).twins[0]
    assert float(twin.quant.log_step.exp()) == pytest.approx(0.3)
    assert torch.allclose(twin.value(), grid)
    assert twin.index().tolist() == [[-2, 0, 1], [3, 1, -1]]
    free = make_student(linear(torch.randn(2, 3)), {"weight": parse_scheme("rd")}).twins[0]
    assert not free.quant.on_grid


def linear(weight):
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer


@pytest.mark.parametrize("text", ["rd", "int8", "int4", "int2", "int4:g8", "codebook8"])
def test_what_is_zero_begins_with_levels_of_the_size_of_others(text):
    """As the biases and last layers that people set to zero."""
    zeros, some = torch.zeros(4, 8), torch.zeros(4, 8)
    some[0] = 0.05
    for values, size in ((zeros, 0.2), (some, 0.05)):
        quant = fake_quant(parse_scheme(text), values, "w", 0.2)
        found = quant(torch.full((4, 8), size)).detach()
        assert torch.allclose(found, torch.tensor(size), rtol=0.5)


@pytest.mark.parametrize("text", ["rd", "ternary"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_no_slice_that_is_divided_by_its_norm_becomes_zero(text, axis):
    values = 1e-3 * weight((4, 8))
    values[0, 0] = 1.0
    quant, twin = made(text, values)
    assert (quant(values).count_nonzero(), twin.index().count_nonzero()) == (1, 1)
    quant.norm_axis = axis
    found = quant(values)
    assert torch.equal(decoded_of(twin), found)
    kept = {0: 4, 1: 8, -1: 1}[axis]
    assert found.count_nonzero() == kept
    if axis >= 0:
        assert (found != 0).any(1 - axis).all()
        where = values.abs().argmax(1 - axis)
        assert torch.equal(found.abs().argmax(1 - axis), where)


def decoded_of(twin):
    return torch.from_numpy(decoded(_grid(twin), twin.original.shape))


def test_multiples_of_a_step_are_few_and_not_far_apart():
    assert grid_of(torch.tensor([0.0, 1.0, 1.0, 3.0, -2.0])) == 1.0
    assert grid_of(torch.tensor([0.0, 0.0, 1e-6, 0.7312345])) is None
    assert grid_of(torch.tensor([0.0, 0.0, 1e-3, 5.0004])) is None
