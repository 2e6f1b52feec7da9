"""Dicts of numpy arrays: any byte order and layout, tied ones once, what cannot be is refused."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from taut.errors import ArgumentError
from taut.io import SAFETENSORS_DTYPES, dtype_name, open_source


@pytest.mark.parametrize("name", SAFETENSORS_DTYPES)
@pytest.mark.parametrize("swapped", [False, True])
def test_every_dtype_comes_back_bit_for_bit_in_native_order(
    name: str, swapped: bool, rng: np.random.Generator
) -> None:
    dtype = SAFETENSORS_DTYPES[name]
    bits = np.frombuffer(rng.bytes(6 * dtype.itemsize), dtype).reshape(2, 3)
    given_array = bits
    if swapped and name == "C64":
        given_array = bits.byteswap().view(dtype.newbyteorder())
    elif swapped:
        word = bits.view(f"u{dtype.itemsize}").byteswap()
        given_array = word.view(dtype.newbyteorder())
    source = open_source({"w": given_array, "t": given_array.T, "s": given_array[1, 2]})
    assert [info.dtype for info in source.infos] == [name] * 3
    for key, expected in (("w", bits), ("t", bits.T), ("s", bits[1, 2])):
        loaded = source.load(key)
        assert (loaded.dtype, loaded.shape) == (dtype, expected.shape)
        assert loaded.tobytes() == expected.tobytes()
        assert loaded.flags.c_contiguous
        assert not loaded.flags.writeable


@given(
    hnp.arrays(
        st.sampled_from(["<f4", ">f4", "<i8", ">u2", "?", ">c8"]),
        hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    ),
    st.data(),
)
def test_any_view_of_any_array_is_loaded_dense(array: np.ndarray, data: st.DataObject) -> None:
    index = data.draw(hnp.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))
    view = np.asarray(array[index])
    loaded = open_source({"w": view}).load("w")
    assert loaded.shape == view.shape
    assert loaded.dtype == SAFETENSORS_DTYPES[dtype_name(array.dtype)]
    assert loaded.tobytes() == view.astype(view.dtype.newbyteorder("="), order="C").tobytes()


def test_arrays_of_one_memory_are_tied() -> None:
    weight = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    source = open_source(
        {
            "first": weight,
            "same": weight[:],
            "turned": weight.T,
            "part": weight[:1],
            "bits": weight.view(np.int32),
            "equal": weight.copy(),
            "none": np.empty(0),
            "nothing": np.empty(0),
        }
    )
    assert source.aliases == {"same": "first"}
    assert [info.name for info in source.infos][:2] == ["first", "same"]
    np.testing.assert_array_equal(source.load("same"), weight)
    assert source.nbytes == 24 * 3 + 12 + 24


def test_the_callers_array_stays_writable_and_is_not_copied() -> None:
    weight = np.zeros(4)
    loaded = open_source({"w": weight}).load("w")
    weight[0] = 1
    assert loaded[0] == 1
    assert not loaded.flags.writeable


def test_an_unaligned_array_is_loaded_aligned() -> None:
    buffer = np.arange(41, dtype=np.uint8)[1:]
    weight = buffer.view(np.float64)
    assert not weight.flags.aligned
    loaded = open_source({"w": weight}).load("w")
    assert loaded.flags.aligned
    assert loaded.tobytes() == buffer.tobytes()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([None]), 'tensor "w": dtype object cannot be stored'),
        (np.array(["a"]), 'tensor "w": dtype <U1 cannot be stored'),
        (np.array([b"a"]), "cannot be stored"),
        (np.zeros(1, np.complex128), "dtype complex128 cannot be stored"),
        (np.zeros(1, "M8[s]"), "cannot be stored"),
        (np.zeros(1, "f4,i4"), "cannot be stored"),
        (np.zeros(1, ml_dtypes.int4), "dtype int4 cannot be stored"),
        (np.ma.masked_array([1.0]), r"is masked; pass array.filled"),
        (1.0, 'entry "w" is a float, not a tensor'),
        ([1.0], 'entry "w" is a list, not a tensor'),
        ({"x": 1.0}, r'holds no tensors by name: it has "w" \(dict\)'),
    ],
)
def test_what_cannot_be_stored_is_refused_by_name(value: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        open_source({"w": value})  # type: ignore[dict-item]


def test_an_unstorable_name_is_refused() -> None:
    for name in ("__metadata__", "\ud800"):
        with pytest.raises(ArgumentError, match=r"cannot be a tensor's name|not valid Unicode"):
            open_source({name: np.zeros(1)})
    with pytest.raises(ArgumentError, match="the name 1 is no text"):
        open_source({1: np.zeros(1)})  # type: ignore[dict-item]


def test_an_empty_dict_and_a_thing_that_is_no_model_are_refused() -> None:
    with pytest.raises(ArgumentError, match="holds no tensors"):
        open_source({})
    with pytest.raises(ArgumentError, match="a list is no model"):
        open_source([np.zeros(1)])  # type: ignore[arg-type]


def test_an_unknown_name_is_an_error_with_the_nearest() -> None:
    with pytest.raises(ArgumentError, match='no tensor "weigth"; nearest: weight'):
        open_source({"weight": np.zeros(1)}).load("weigth")
