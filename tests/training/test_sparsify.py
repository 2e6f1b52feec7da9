"""Masks in a training: the schedule is kept whatever they are chosen by, and nothing is emptied."""

from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut.errors import ArgumentError  # noqa: E402
from taut.scheme import Scheme  # noqa: E402
from taut.training.sparsify import Sparsifier  # noqa: E402
from taut.training.student import make_student  # noqa: E402
from taut.transform.mask import cubic  # noqa: E402
from taut.transform.settings import Masking  # noqa: E402


def student(text="rd", scale=1.0):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, 50, bias=False), nn.Linear(50, 10, bias=False))
    with torch.no_grad():
        for layer, size in zip(net, (1.0, scale), strict=True):
            layer.weight.normal_(0, 0.1 * size)
    return make_student(net, {"0.weight": Scheme(text), "1.weight": Scheme(text)})


def both(one):
    return {"0.weight": one, "1.weight": one}


def zeros(found):
    """The fraction of zeros in each tensor, and in all."""
    values = [twin.value() for twin in found.twins]
    each = [float((value == 0).float().mean()) for value in values]
    whole = torch.cat([value.flatten() for value in values])
    return *each, float((whole == 0).float().mean())


@pytest.mark.parametrize("calls", [5, 7, 30, 1000])
def test_the_cubic_schedule_is_reached_at_its_end_however_few_the_steps(calls):
    found = student("lossless")
    masks = Sparsifier(found, both(Masking(sparsity=0.9, begin=0.2, end=0.6)))
    assert zeros(found)[2] == 0
    for number in range(calls):
        progress = number / calls
        masks.update(progress)
        share = zeros(found)[2]
        due = cubic((progress - 0.2) / 0.4, 0.9)
        assert due - 0.09 <= share <= due + 1e-3
        if progress >= 0.6:
            assert share == pytest.approx(0.9, abs=1e-3)
            assert masks.final


def test_a_schedule_to_the_end_is_finished_after_it():
    found = student("lossless")
    masks = Sparsifier(found, both(Masking(sparsity=0.5, end=1.0)))
    for number in range(10):
        masks.update(number / 10)
    assert not masks.final
    masks.update(1.0)
    assert masks.final and zeros(found)[2] == 0.5


def test_one_threshold_for_all_or_one_for_each():
    each = student("lossless", scale=0.1)
    Sparsifier(each, both(Masking(sparsity=0.6, method="magnitude", gradual=False)))
    assert zeros(each) == pytest.approx((0.6, 0.6, 0.6))
    shared = student("lossless", scale=0.3)
    Sparsifier(shared, both(Masking(sparsity=0.6, gradual=False)))
    first, second, whole = zeros(shared)
    assert whole == pytest.approx(0.6, abs=1e-3)
    assert second > 0.8 > 0.6 > first
    values = [twin.value().abs() for twin in shared.twins]
    originals = [twin.original.detach().abs() for twin in shared.twins]
    least = min(float(v[v > 0].min()) for v in values)
    most = max(float(o[v == 0].max()) for o, v in zip(originals, values, strict=True))
    assert most <= least


def test_n_of_m_keeps_the_largest_of_each_run():
    found = student("rd")
    masks = Sparsifier(found, both(Masking(n_of_m=(2, 5), begin=0.3)))
    assert all(twin.quant.mask is None for twin in found.twins)
    masks.update(0.31)
    for twin in found.twins:
        runs = twin.quant.mask.reshape(-1, 5)
        assert (runs.sum(1) == 2).all()
        sizes = twin.original.detach().abs().reshape(-1, 5)
        assert torch.equal(runs, sizes >= sizes.sort(1).values[:, 3:4])


def test_blocks_go_as_a_whole():
    found = student("lossless")
    Sparsifier(found, both(Masking(sparsity=0.5, block=(5, 10), gradual=False)))
    for twin in found.twins:
        rows, columns = twin.original.shape
        blocks = twin.quant.mask.reshape(rows // 5, 5, columns // 10, 10).float().mean((1, 3))
        assert set(blocks.flatten().tolist()) == {0.0, 1.0}
        assert blocks.mean() == 0.5


@pytest.mark.parametrize("method", ["magnitude", "wanda", "obs"])
def test_a_mask_that_is_not_gradual_is_made_once(method):
    found = student("rd")
    one = Masking(sparsity=0.5, method=method, gradual=False)
    masks = Sparsifier(found, both(one))
    kept = []
    for number in range(6):
        found.module(torch.randn(8, 20)).square().sum().backward()
        masks.update(number / 6)
        kept.append([twin.quant.mask.clone() for twin in found.twins])
        with torch.no_grad():
            for twin in found.twins:
                twin.original.add_(torch.randn_like(twin.original))
    for before, after in pairwise(kept):
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert zeros(found)[2] >= 0.5


def test_wanda_weighs_by_the_norms_of_inputs():
    found = student("lossless")
    masks = Sparsifier(found, {"0.weight": Masking(sparsity=0.5, method="wanda", gradual=False)})
    inputs = torch.ones(4, 20)
    inputs[:, :5] = 100.0
    found.module(inputs)
    with torch.no_grad():
        found.module(torch.full((4, 20), 1e6))  # no batch of the training
    masks.update(0.0)
    mask = found.twins[0].quant.mask
    sizes = found.twins[0].original.detach().abs() * inputs[0]
    assert torch.equal(mask, sizes >= sizes.flatten().sort().values[500])
    assert mask[:, :5].float().mean() > 0.95


def test_obs_weighs_by_squared_gradients():
    found = student("lossless")
    settings = {"0.weight": Masking(sparsity=0.5, method="obs", gradual=False)}
    masks = Sparsifier(found, settings)
    inputs = torch.randn(64, 20)
    inputs[:, 10:] = 0  # no gradient there
    found.module(inputs).square().sum().backward()
    masks.update(0.0)
    mask = found.twins[0].quant.mask
    assert mask[:, :10].all() and not mask[:, 10:].any()


def test_regrowth_moves_a_part_to_where_gradients_are():
    found = student("lossless")
    one = Masking(sparsity=0.5, method="magnitude", regrow=0.2, end=0.5)
    masks = Sparsifier(found, {"0.weight": one})
    twin = found.twins[0]
    found.module(torch.randn(16, 20)).square().sum().backward()
    masks.update(0.5)
    mask, sizes = twin.quant.mask, twin.original.detach().abs()
    assert int(mask.sum()) == 500
    by_size = sizes >= sizes.flatten().sort().values[500]
    came = mask & ~by_size
    assert 1 <= int(came.sum()) <= 100
    slopes = twin.original.grad.abs()
    assert slopes[came].min() >= slopes[~mask & ~by_size].max()


def test_weights_under_the_mask_stand_still_however_the_optimiser_steps():
    found = student("lossless")
    masks = Sparsifier(found, both(Masking(sparsity=0.5, method="magnitude")))
    masks.update(0.3)
    twin = found.twins[0]
    mask, before = twin.quant.mask, twin.original.detach().clone()
    adam = torch.optim.Adam(found.module.parameters(), lr=0.01)  # as much for any gradient
    for _ in range(20):
        adam.zero_grad()
        found.module(torch.randn(8, 20)).square().sum().backward()
        adam.step()
    moved = (twin.original.detach() - before).abs()
    assert moved[mask].min() > 0
    assert not moved[~mask].any()
    masks.close()
    found.module(torch.randn(8, 20)).square().sum().backward()
    assert twin.original.grad[~mask].abs().max() > 0


def test_weights_under_the_mask_come_back_when_those_kept_shrink():
    found = student("lossless")
    masks = Sparsifier(found, both(Masking(sparsity=0.5, method="magnitude")))
    masks.update(0.3)
    twin = found.twins[0]
    hidden = ~twin.quant.mask
    with torch.no_grad():
        twin.original[~hidden] *= 1e-6
    masks.update(0.6)
    assert twin.quant.mask[hidden].all()


def test_a_mask_that_empties_a_layer_is_refused_by_name():
    found = student("rd", scale=1e-6)
    with pytest.raises(ArgumentError, match=r'empties "1.weight"'):
        Sparsifier(found, both(Masking(sparsity=0.7, gradual=False)))
    with pytest.raises(ArgumentError, match=r'"1.weight".*leaves none of 500 weights'):
        one = Masking(sparsity=0.9999, method="magnitude", gradual=False)
        Sparsifier(student(), {"1.weight": one})


def test_what_does_not_fit_is_refused_before_it_is_due():
    for one in (Masking(n_of_m=(2, 3), begin=0.5), Masking(sparsity=0.5, block=(3, 2), begin=0.5)):
        with pytest.raises(ArgumentError, match=r'"1.weight".*does not divide'):
            Sparsifier(student(), {"1.weight": one})


def test_a_state_goes_on_as_if_nothing_had_been_between():
    def steps(found, masks, numbers):
        for number in numbers:
            torch.manual_seed(number)
            found.module(torch.randn(8, 20)).square().sum().backward()
            with torch.no_grad():
                for twin in found.twins:
                    twin.original.sub_(0.01 * twin.original.grad)
                    twin.original.grad = None
            masks.update(number / 20)

    one = Masking(sparsity=0.8, method="obs", regrow=0.1, end=0.9)
    whole = student("lossless")
    masks = Sparsifier(whole, both(one))
    steps(whole, masks, range(11))
    kept, weights = masks.state(), {n: v.clone() for n, v in whole.module.state_dict().items()}
    steps(whole, masks, range(11, 20))
    again = student("lossless")
    masks = Sparsifier(again, both(one))
    for twin in again.twins:
        twin.quant.mask = torch.zeros_like(twin.original, dtype=torch.bool)
    again.module.load_state_dict(weights)
    masks.restore(kept)
    steps(again, masks, range(11, 20))
    for first, second in zip(whole.twins, again.twins, strict=True):
        assert torch.equal(first.quant.mask, second.quant.mask)
        assert torch.equal(first.original, second.original)
