"""The scheme grammar: every word, every rule, every message, and the round trip."""

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taut.errors import ArgumentError
from taut.scheme import Scheme, parse_scheme

GRAMMAR = {
    "keep": Scheme("keep"),
    "lossless": Scheme(),
    "rd": Scheme("rd"),
    "rd:3": Scheme("rd", bits=3.0),
    "rd:2.25": Scheme("rd", bits=2.25),
    "fp16": Scheme("fp16"),
    "fp8": Scheme("fp8"),
    "int8": Scheme("int8"),
    "int8,tensor": Scheme("int8", per_tensor=True),
    "2:4+int8,tensor": Scheme("int8", per_tensor=True, n_of_m=(2, 4)),
    "int4": Scheme("int4"),
    "int4:g64": Scheme("int4", group_size=64),
    "int4,asym": Scheme("int4", asymmetric=True),
    "int4:g128,asym": Scheme("int4", group_size=128, asymmetric=True),
    "int3": Scheme("int3"),
    "int2": Scheme("int2"),
    "ternary": Scheme("ternary"),
    "binary": Scheme("binary"),
    "codebook16": Scheme("codebook", entries=16),
    "50%": Scheme(sparsity=0.5),
    "99.9%": Scheme(sparsity=0.999),
    "2:4": Scheme(n_of_m=(2, 4)),
    "channels:30%": Scheme(channels=0.3),
    "2:4+int4:g64": Scheme("int4", group_size=64, n_of_m=(2, 4)),
    "channels:30%+50%+rd:3": Scheme("rd", bits=3.0, sparsity=0.5, channels=0.3),
}


@pytest.mark.parametrize("text", GRAMMAR)
def test_grammar(text: str) -> None:
    assert parse_scheme(text) == GRAMMAR[text]
    assert str(GRAMMAR[text]) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("int4:g64+2:4", "2:4+int4:g64"),
        ("50%+lossless", "50%"),
        ("rd:3.0", "rd:3"),
        ("rd:2.50+channels:07.50%", "channels:7.5%+rd:2.5"),
    ],
)
def test_other_spellings_have_one_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_scheme(text)) == canonical


MISTAKES = {
    "imt4": 'scheme "imt4", column 1: unknown part "imt4"; nearest: int4;',
    "INT8": "nearest: int8",
    " ternery": "nearest: ternary",
    "": 'scheme "", column 1: unknown part ""',
    "2:4+": 'scheme "2:4+", column 5: unknown part ""',
    "2:4+loseless": 'scheme "2:4+loseless", column 5: unknown part "loseless"; nearest: lossless',
    "rd:": '"rd:": rd takes its bits, as in rd:2.5',
    "rd:three": "rd takes its bits, as in rd:2.5",
    "rd:0": 'scheme "rd:0", column 1: rd takes 0.01 to 32 bits per weight, not 0',
    "rd:33": "not 33",
    "rd:٣": "rd takes its bits",
    "int3:g64": '"int3:g64": int3 takes no options',
    "int4:64": "int4 takes a group size and asym, as in int4:g64,asym",
    "int4,asym:g64": "as in int4:g64,asym",
    "int4:g1": "a group holds at least 2 weights, not 1",
    "codebook": "codebook takes its number of entries, as in codebook16",
    "codebook1": "a codebook has 2 to 65536 entries, not 1",
    "50%+keep": 'scheme "50%+keep": keep leaves a tensor as it is',
    "0%": "sparsity lies between 0% and 100%",
    "100%": "sparsity lies between 0% and 100%",
    "channels:100%": "channels lies between 0% and 100%",
    "channels:half": "channels takes a percentage, as in channels:30%",
    "4:2": "with 1 <= N < M, not 4:2",
    "0:4": "with 1 <= N < M, not 0:4",
    "int4+int8": 'scheme "int4+int8", column 6: "int8" is a second values part',
    "50%+2:4": 'column 5: "2:4" is a second mask part',
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_named(text: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse_scheme(text)
    assert MISTAKES[text] in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "int5"},
        {"bits": 3.0},
        {"kind": "int8", "group_size": 64},
        {"kind": "int8", "asymmetric": True},
        {"kind": "int4", "per_tensor": True},
        {"kind": "rd", "entries": 16},
        {"kind": "rd", "bits": float("nan")},
        {"kind": "codebook"},
        {"sparsity": float("nan")},
        {"sparsity": 0.5, "n_of_m": (2, 4)},
        {"kind": "keep", "channels": 0.5},
    ],
)
def test_a_scheme_that_no_text_can_say_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        Scheme(**fields)  # type: ignore[arg-type]


def test_schemes_are_frozen_and_hashable() -> None:
    scheme = parse_scheme("rd:3")
    with pytest.raises(FrozenInstanceError):
        scheme.bits = 4.0  # type: ignore[misc]
    assert {scheme: 1}[Scheme("rd", bits=3.0)] == 1


FRACTIONS = st.floats(1e-6, 1 - 1e-6)
VALUES = st.one_of(
    st.sampled_from(
        ["lossless", "rd", "fp16", "fp8", "int8", "int3", "int2", "ternary", "binary"]
    ).map(lambda kind: {"kind": kind}),
    st.builds(lambda one: {"kind": "int8", "per_tensor": one}, st.booleans()),
    st.builds(lambda bits: {"kind": "rd", "bits": bits}, st.floats(0.01, 32)),
    st.builds(
        lambda size, asym: {"kind": "int4", "group_size": size, "asymmetric": asym},
        st.none() | st.integers(2, 10**6),
        st.booleans(),
    ),
    st.builds(lambda n: {"kind": "codebook", "entries": n}, st.integers(2, 65536)),
)
MASKS = st.one_of(
    st.just({}),
    st.builds(lambda f: {"sparsity": f}, FRACTIONS),
    st.builds(lambda n, more: {"n_of_m": (n, n + more)}, st.integers(1, 64), st.integers(1, 64)),
)
CHANNELS = st.just({}) | st.builds(lambda f: {"channels": f}, FRACTIONS)
SCHEMES = st.just(Scheme("keep")) | st.builds(
    lambda values, mask, channels: Scheme(**values, **mask, **channels), VALUES, MASKS, CHANNELS
)


@given(SCHEMES)
def test_round_trip(scheme: Scheme) -> None:
    text = str(scheme)
    assert parse_scheme(text) == scheme
    assert str(parse_scheme(text)) == text


@given(
    st.text(alphabet="0123456789.%:,+gabcdefghiklmnoprstuvy ", max_size=20) | st.text(max_size=8)
)
def test_any_text_is_a_scheme_or_an_argument_error(text: str) -> None:
    try:
        scheme = parse_scheme(text)
    except ArgumentError as error:
        assert text in str(error)
    else:
        assert parse_scheme(str(scheme)) == scheme
