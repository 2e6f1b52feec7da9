"""Hidden states from block to block, values that a network wears, and matrices as few bytes."""

from __future__ import annotations

import numpy as np
import pytest

from taut.calibration.carried import Carried
from taut.calibration.worn import wearing, without

torch = pytest.importorskip("torch")


def test_what_is_held_in_memory_is_carried_as_it_is():
    carried = Carried()
    given = [torch.randn(2, n, 3) for n in (1, 5)]
    for number, hidden in enumerate(given):
        carried[number] = hidden
    carried.advance(lambda number, hidden: hidden * number)
    assert torch.equal(carried[0], given[0] * 0) and torch.equal(carried[1], given[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_lies_in_a_file_keeps_eight_bits(dtype):
    carried = Carried(held=100)
    given = [torch.randn(2, n, 3).to(dtype) for n in (3, 40, 5)]
    for number, hidden in enumerate(given):
        carried[number] = hidden
    for times in (1, 2):  # in place
        for number, hidden in enumerate(given):
            assert carried[number].dtype == dtype
            torch.testing.assert_close(carried[number], hidden * times, rtol=2**-7, atol=0)
        carried.advance(lambda _, hidden: hidden * 2)
    assert len(carried) == 3


def test_a_network_has_its_own_values_again_after_an_error():
    layer = torch.nn.Linear(2, 2)
    layer.other = layer.weight  # tied: both names are worn, one after the other
    tensors = dict(layer.named_parameters(remove_duplicate=False))
    own = layer.weight.detach().clone()
    values = [("weight", np.ones((2, 2))), ("other", np.full((2, 2), 2.0))]
    with pytest.raises(RuntimeError), wearing(tensors, values) as worn:
        assert layer.weight.tolist() == [[2, 2], [2, 2]]
        with without(worn):
            assert torch.equal(layer.weight, own)
        assert layer.weight.tolist() == [[2, 2], [2, 2]]
        raise RuntimeError
    assert torch.equal(layer.weight, own)


def test_what_is_written_to_worn_values_is_not_written_to_the_network():
    layer = torch.nn.Linear(2, 1, bias=False)
    own = layer.weight.detach().clone()
    worn = wearing(dict(layer.named_parameters()), [("weight", np.zeros((1, 2)))])
    with worn, torch.no_grad():
        layer.weight.copy_(torch.ones(1, 2))
    assert torch.equal(layer.weight, own)
