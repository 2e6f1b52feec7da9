"""The dial, on sizes that behave and on sizes that do not."""

import math

import pytest

from taut.errors import TargetError
from taut.planning import Target, meet_target

WEIGHTS = 1_000_000


def gaussian_size(dial: float, fixed: int = 5000) -> int:
    """About one bit less per doubling, flat towards nothing: bits = log2(1 + (s / dial)^2) / 2."""
    return fixed + int(WEIGHTS / 8 * 0.5 * math.log2(1 + (4.0 / dial) ** 2))


@pytest.mark.parametrize("bits", [0.2, 0.5, 1, 2, 3.3, 6])
@pytest.mark.parametrize("bias", [0.9, 1.0, 1.1])
@pytest.mark.parametrize("first", [1e-4, 1.0, 1e4])
def test_a_reachable_target_is_met_in_few_tries(bits, bias, first):
    target = Target(int(bits * WEIGHTS / 8) + 5000, "test")
    found = meet_target(
        target, gaussian_size, lambda d: bias * gaussian_size(d), weights=WEIGHTS, first=first
    )
    assert target.met_by(found.size)
    assert found.size == gaussian_size(found.dial)
    assert found.tries <= 5


def test_less_than_what_is_fixed_cannot_be_had():
    with pytest.raises(TargetError, match="cannot be met") as caught:
        meet_target(Target(4000, "4 kB"), gaussian_size, gaussian_size, weights=WEIGHTS, first=1)
    assert caught.value.best.size == gaussian_size(1e30) == 5000


def test_a_size_that_jumps_over_the_target_gives_the_nearest_below():
    def stairs(dial: float) -> int:
        return 100_000 if dial < 1 else 50_000

    with pytest.raises(TargetError, match="nearest file has 50,000") as caught:
        meet_target(Target(80_000, "80 kB"), stairs, stairs, weights=WEIGHTS, first=1)
    assert caught.value.best.size == 50_000


@pytest.mark.parametrize("first", [1e-9, 1.0])
def test_the_finest_dial_is_it_where_even_its_file_is_small(first):
    found = meet_target(
        Target(10_000_000, "10 MB"), gaussian_size, gaussian_size, weights=WEIGHTS, first=first,
        finest=1e-6,
    )  # fmt: skip
    assert found.dial == pytest.approx(1e-6)
    assert found.size == gaussian_size(found.dial)
