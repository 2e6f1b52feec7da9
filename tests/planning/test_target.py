"""Targets as people write them."""

import pytest

from taut.errors import ArgumentError
from taut.planning import Target, parse_target

MODEL = {"original": 1_000_000, "parameters": 250_000}


@pytest.mark.parametrize(
    ("size", "nbytes"),
    [
        ("8x", 125_000),
        ("2.5X", 400_000),
        ("12%", 120_000),
        ("4.2MB", 4_200_000),
        ("64 KiB", 65_536),
        ("900kb", 900_000),
        ("777", 777),
        (777, 777),
        ("262144B", 262_144),
    ],
)
def test_sizes(size, nbytes):
    assert parse_target(bits=None, size=size, **MODEL).nbytes == nbytes


def test_bits_count_every_parameter():
    assert parse_target(bits=2.5, size=None, **MODEL).nbytes == 78_125


@pytest.mark.parametrize(
    "size", ["0x", "x", "8y", "-3MB", "1e3", "", "nanMB", "4.2 M B", "9" * 400]
)
def test_nonsense_is_quoted_with_what_would_do(size):
    with pytest.raises(ArgumentError, match="size"):
        parse_target(bits=None, size=size, **MODEL)


@pytest.mark.parametrize("bits", [0, -1, float("nan"), float("inf"), "3"])
def test_bits_must_be_positive(bits):
    with pytest.raises(ArgumentError, match="positive"):
        parse_target(bits=bits, size=None, **MODEL)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"bits": 1e308}, "widest weights"),
        ({"bits": 40}, "more than the 32 bits per weight"),
        ({"size": "8"}, r"8 bytes.*; 8x\?"),
        ({"size": 8}, r"; 8x\?"),
        ({"size": "0.5x"}, "more than the original"),
        ({"size": "120%"}, "more than the original"),
    ],
)
def test_what_no_smaller_file_can_have_is_refused(asked, told):
    with pytest.raises(ArgumentError, match=told):
        parse_target(
            bits=asked.get("bits"), size=asked.get("size"), original=40_000, parameters=10_000
        )


def test_as_large_as_the_original_is_a_target():
    for asked in ({"bits": 32, "size": None}, {"bits": None, "size": "1x"}):
        assert parse_target(**asked, original=40_000, parameters=10_000).nbytes == 40_000


def test_one_target_only():
    with pytest.raises(ArgumentError, match="either"):
        parse_target(bits=3, size="8x", **MODEL)


def test_met_means_within_a_percent_from_below():
    target, small = Target(100_000, ""), Target(1000, "")
    sizes = (98_999, 99_000, 100_000, 100_001)
    assert [target.met_by(size) for size in sizes] == [False, True, True, False]
    # Parts of a file have sizes some bytes apart: of a small one 64 below are no miss.
    assert [small.met_by(size) for size in (935, 936, 1000, 1001)] == [False, True, True, False]
