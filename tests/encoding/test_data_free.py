"""The dial that meets a size without data: steps by tensor, and where the trellis pays."""

from __future__ import annotations

import numpy as np
import pytest

from taut.compression.origin import origin_of
from taut.encoding.choose_coder import coded_smallest
from taut.encoding.data_free import SizeRequest, find_dial, lossy_schemes
from taut.encoding.data_free_rounder import round_tensor, step_for_bits
from taut.errors import TargetError
from taut.io import open_source
from taut.planning import Target
from taut.scheme import parse_scheme


def found(arrays, bits, *, effort="max", gains=None):
    """The quantiser of a file of so many bits a weight."""
    source = open_source(arrays)
    schemes = lossy_schemes(source, {name: parse_scheme("lossless") for name in arrays})
    values = sum(array.size for array in arrays.values())
    target = Target(int(bits * values / 8), f"{bits} bits")
    origin = origin_of(source)
    request = SizeRequest(
        source=source,
        schemes=schemes,
        target=target,
        effort=effort,
        origin=origin,
        gains=gains or {},
    )
    return find_dial(request)


def noise(rng, scale=1.0, shape=(400, 500)):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def test_a_step_is_the_root_of_the_tensors_scale_times_its_gain(rng):
    arrays = {"a": noise(rng), "b": noise(rng, 9.0), "c": noise(rng), "d": noise(rng, 0.0)}
    weights = found(arrays, 6, effort="fast", gains={"c": 2.0}).weights
    assert weights["b"] / weights["a"] == pytest.approx(3, rel=0.01)
    assert weights["c"] / weights["a"] == pytest.approx(2, rel=0.01)
    assert weights["a"] == pytest.approx(1, rel=0.01)
    assert weights["d"] == 1  # there is no scale to go by


@pytest.mark.parametrize(
    ("bits", "trellis"), [(0.6, False), (0.75, False), (0.85, True), (2, True)]
)
def test_the_trellis_is_for_four_fifths_of_a_bit_a_weight_and_more(rng, bits, trellis):
    assert found({"w": noise(rng)}, bits).trellis is trellis
    assert not found({"w": noise(rng)}, bits, effort="fast").trellis


def test_a_size_is_met_within_a_percent_from_below(rng):
    arrays = {"a": noise(rng), "b": noise(rng, 9.0)}
    for effort in ("fast", "max"):
        for bits in (0.6, 3, 9):
            most = bits * 400_000 / 8
            assert 0.99 * most <= found(arrays, bits, effort=effort).size <= most


@pytest.mark.parametrize("effort", ["fast", "max"])
@pytest.mark.parametrize("bits", [0.5, 2, 5.5])
def test_a_tensor_of_its_own_bits_takes_them_within_a_percent_from_below(rng, bits, effort):
    values = noise(rng)
    trellis = effort == "max"
    step = step_for_bits("w", values, bits, effort, trellis)
    found = round_tensor("w", values, step, trellis)
    coded = coded_smallest(found, np.dtype(np.float32), effort=effort)
    assert 0.99 * bits <= 8 * coded.nbytes / values.size <= bits


def test_what_has_no_matrix_cannot_be_made_smaller(rng):
    source = open_source({"b": noise(rng, shape=(4000,)), "n": np.arange(9000).reshape(90, 100)})
    with pytest.raises(TargetError, match=r"no float matrix of at least 1,024 values"):
        lossy_schemes(source, {name: parse_scheme("lossless") for name in ("b", "n")})


def test_matrices_that_nobody_named_get_the_dial_and_vectors_halves(rng):
    arrays = {name: noise(rng, shape=(40, 50)) for name in ("free", "named", "kept")}
    arrays["b"] = noise(rng, shape=(50,))
    plan = {name: parse_scheme("lossless") for name in arrays} | {"kept": parse_scheme("keep")}
    schemes = lossy_schemes(open_source(arrays), plan, {"named"})
    assert {name: str(scheme) for name, scheme in schemes.items()} == {
        "free": "rd",
        "named": "lossless",
        "kept": "keep",
        "b": "fp16",
    }
