"""What a sweep tries, and on which tensors."""

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.io import open_source
from taut.scheme import parse_scheme
from taut.sweep.points import BITS, SCHEMES, matrices_of, read_settings, uniform_plan


def names(**asked):
    return [one.name for one in read_settings(**asked)]


def test_without_a_word_there_are_bits_and_grids():
    assert names() == [*(f"{bits:g} bits" for bits in BITS), *SCHEMES]


def test_an_empty_list_is_none_and_not_the_default():
    assert names(schemes=[], bits=[2.5]) == ["2.5 bits"]
    assert names(bits=[], schemes=["int8"]) == ["int8"]
    assert names(sizes=["8x", "4.2MB", 1000], schemes=[]) == ["8x", "4.2MB", "1000"]


def test_a_ladder_is_geometric_with_its_ends():
    bits = [one.bits for one in read_settings(points=5, low=1, high=16, schemes=[])]
    assert bits == [1, 2, 4, 8, 16]
    assert [one.bits for one in read_settings(points=3, schemes=[])] == [2, 4, 8]


def test_an_array_of_bits_serves():
    found = read_settings(bits=np.linspace(2, 3, 3, dtype=np.float32), schemes=[])
    assert [one.bits for one in found] == [2, 2.5, 3]


def test_settings_are_dials_or_grids():
    dial, grid, exact = read_settings(bits=[3], schemes=["int4:g64,asym", "lossless"])
    assert (dial.kind, grid.kind, exact.kind) == ("dial", "grid", "grid")
    assert (dial.calibrated, grid.calibrated, exact.calibrated) == (True, True, False)
    assert grid.file_name == "int4-g64-asym.taut.safetensors"


def test_no_two_schemes_share_a_file():
    schemes = ["int4:g64", "int4:g64,asym", "2:4", "50%", "50%+int8", "2:4+int8", "codebook16"]
    files = [one.file_name for one in read_settings(bits=[0.5], sizes=None, schemes=schemes)]
    assert len(set(files)) == len(files)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"bits": [0.05]}, "0.05 is no number from 0.1 to 16"),
        ({"bits": [17]}, "from 0.1 to 16"),
        ({"bits": [float("nan")]}, "from 0.1 to 16"),
        ({"bits": ["3"]}, "'3' is no number"),
        ({"bits": [True]}, "True is no number"),
        ({"bits": [3, 3.0]}, '"3 bits" is named twice'),
        ({"schemes": ["int8", "int8"]}, '"int8" is named twice'),
        ({"schemes": ["int9"]}, 'unknown part "int9"; nearest: int'),
        ({"schemes": ["rd:2.5"]}, "is the dial itself"),
        ({"schemes": ["channels:30%"]}, "wants training"),
        ({"sizes": ["huge"]}, "none of a ratio"),
        ({"bits": [3], "sizes": ["8x"]}, "give one of them"),
        ({"bits": [3], "points": 4}, "give one of them"),
        ({"bits": [], "schemes": []}, "nothing to try"),
        ({"points": 1}, "2 to 100"),
        ({"points": 0}, "2 to 100"),
        ({"points": 4, "low": 8, "high": 2}, "no way up"),
        ({"points": 4, "high": 0}, "from 0.1 to 16"),
    ],
)
def test_what_cannot_be_is_told(asked, told):
    with pytest.raises(ArgumentError) as error:
        read_settings(**asked)
    assert told in str(error.value)


def source():
    tensors = {
        "wide": np.ones((8, 256), np.float32),
        "odd": np.ones((64, 27), np.float32),
        "vector": np.ones(4096, np.float32),
        "ids": np.ones((64, 64), np.int64),
    }
    return open_source(tensors)


def test_matrices_are_floats_of_a_thousand_values():
    assert [info.name for info in matrices_of(source())] == ["wide", "odd"]
    with pytest.raises(ArgumentError, match="no float matrix"):
        matrices_of(open_source({"v": np.ones(9000, np.float32)}))


def test_a_group_that_does_not_divide_gives_way_to_the_row_and_is_told():
    plan, note = uniform_plan(matrices_of(source()), parse_scheme("int4:g128"))
    assert {name: str(one) for name, one in plan.items()} == {"wide": "int4:g128", "odd": "int4"}
    assert note == (
        "int4:g128: 1 of 2 matrices have a scale a row, for their columns do not divide by 128"
    )
    assert uniform_plan(matrices_of(source()), parse_scheme("int8"))[1] is None


def test_a_pattern_that_does_not_divide_is_left_out_and_told():
    plan, note = uniform_plan(matrices_of(source()), parse_scheme("2:4+int8"))
    assert {name: str(one) for name, one in plan.items()} == {"wide": "2:4+int8", "odd": "int8"}
    assert "1 of 2 matrices have no mask" in note
