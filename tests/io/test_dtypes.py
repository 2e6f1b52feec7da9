"""The dtypes are those of the safetensors library, both ways."""

import ml_dtypes
import numpy as np
import pytest
from safetensors import SafetensorError, deserialize

from taut.errors import ArgumentError, FormatError
from taut.io.dtypes import DTYPE_BITS, SAFETENSORS_DTYPES, dtype_name, storage, tensor_nbytes


@pytest.mark.parametrize("name", DTYPE_BITS)
def test_the_safetensors_library_agrees_on_name_and_size(name: str) -> None:
    nbytes = tensor_nbytes(name, (8,))
    for data, valid in ((bytes(nbytes), True), (bytes(nbytes + 1), False)):
        header = f'{{"a":{{"dtype":"{name}","shape":[8],"data_offsets":[0,{len(data)}]}}}}'
        file = len(header).to_bytes(8, "little") + header.encode() + data
        if valid:
            assert deserialize(file)[0][1]["dtype"].upper().startswith(name[:2])
        else:
            with pytest.raises(SafetensorError):
                deserialize(file)


@pytest.mark.parametrize("name", SAFETENSORS_DTYPES)
def test_each_name_comes_back_from_its_dtype_in_any_byte_order(name: str) -> None:
    dtype = SAFETENSORS_DTYPES[name]
    assert dtype_name(dtype) == name
    assert dtype_name(dtype.newbyteorder()) == name
    assert DTYPE_BITS[name] == 8 * dtype.itemsize


def test_one_layout_has_one_name() -> None:
    assert dtype_name(np.dtype(np.longlong)) == "I64"
    assert dtype_name(np.dtype(np.ulonglong)) == "U64"
    assert dtype_name(np.dtype(np.intc)) == "I32"


@pytest.mark.parametrize(
    "dtype",
    [object, "U3", "S3", "M8[s]", np.complex128, "f4,f4", "V1", "V2", "V4",
     ml_dtypes.float8_e4m3, ml_dtypes.int4, ml_dtypes.float4_e2m1fn],
)  # fmt: skip
def test_a_dtype_that_safetensors_lacks_is_refused(dtype: object) -> None:
    with pytest.raises(ArgumentError, match="convert it to one of BF16"):
        dtype_name(np.dtype(dtype))  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("F31", (1,), 'unknown dtype "F31"'),
        ("F4", (7,), r"ends inside a byte \(28 bits\)"),
        ("F6_E3M2", (2, 3), "ends inside a byte"),
        ("F32", (2**62,), "overflows"),
        ("F32", (0, 2**62, 2**62), "overflows"),
        ("U8", (2**63,), "outside 0..2"),
        ("U8", (-1,), "outside 0..2"),
        ("U8", (1,) * 33, "33 dimensions"),
    ],
)
def test_a_size_that_cannot_be_is_refused(dtype: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        tensor_nbytes(dtype, shape)


def test_sub_byte_values_are_held_as_packed_bytes() -> None:
    assert storage("F4", (3, 4)) == (np.dtype(np.uint8), (6,))
    assert storage("F6_E2M3", (2, 0)) == (np.dtype(np.uint8), (0,))
    assert storage("BF16", (3, 4)) == (np.dtype(ml_dtypes.bfloat16), (3, 4))
