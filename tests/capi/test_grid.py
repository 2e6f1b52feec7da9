"""The grid's integers and scales make the values that the file decodes to."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_float, c_int, c_int32, c_size_t, c_uint64
from pathlib import Path

import numpy as np
import pytest
from tests.capi.library import Error, File, Library, TautCError

import taut
from taut.container import TautFile

pytestmark = pytest.mark.slow("builds libtaut, once")


class Grid(ctypes.Structure):
    _fields_ = [
        ("kind", c_int),
        ("rows", c_uint64),
        ("columns", c_uint64),
        ("values", c_uint64),
        ("group", c_uint64),
        ("groups", c_uint64),
        ("offsets", c_float * 3),
        ("trellis", c_int),
        ("first_level", c_int32),
        ("levels", c_uint64),
    ]


class Out(ctypes.Structure):
    _fields_ = [
        ("integers", POINTER(c_int32)),
        ("scales", POINTER(c_float)),
        ("zeros", POINTER(c_int32)),
        ("column_scales", POINTER(c_float)),
        ("levels", POINTER(c_float)),
    ]


def grid_values(library: Library, file: File, name: str) -> tuple[Grid, np.ndarray]:
    """Values as include/taut.h says that they are made."""
    grid, error, number = Grid(), Error(), c_size_t(file.tensors[name].number)
    status = library.c.taut_grid_describe(file._handle, number, byref(grid), byref(error))
    library.check(status, error)
    rows, columns = grid.rows, grid.columns
    integers = np.zeros(grid.values, np.int32)
    scales = np.zeros((rows, grid.groups), np.float32)
    zeros = np.zeros((rows, grid.groups), np.int32)
    along = np.zeros(columns, np.float32)
    levels = np.zeros(max(1, grid.levels), np.float32)
    made = (integers, scales, zeros, along, levels)
    types = (c_int32, c_float, c_int32, c_float, c_float)
    out = Out(*(a.ctypes.data_as(POINTER(t)) for a, t in zip(made, types, strict=True)))
    status = library.c.taut_grid_decode(
        file._handle, number, c_uint64(0), c_uint64(rows), byref(out), byref(error)
    )
    library.check(status, error)
    padded = np.zeros(rows * columns, np.int64)
    padded[: grid.values] = integers
    level = padded.reshape(rows, columns)
    index = np.abs(level)
    k = np.minimum((index + 1) // 2 if grid.trellis else index, 3)
    offset = np.array([0, *grid.offsets], np.float32)[k] * np.sign(level).astype(np.float32)
    group = np.arange(columns) // grid.group
    scale = scales[:, group]
    if grid.kind == 2:
        values = level.astype(np.float32) * scale + -(offset * scale)
    elif grid.levels:
        values = levels[level - grid.first_level] * scale * along
    else:
        values = ((level - zeros[:, group]).astype(np.float32) - offset) * scale * along
    return grid, values.reshape(-1)[: grid.values]


def test_integers_and_scales_make_the_values(library: Library, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    layer = (rng.standard_normal((150, 256)) * np.exp(rng.uniform(-4, 0, (150, 1)))).astype(
        np.float32
    )
    layer[3, 5] = 300
    seen = set()
    for scheme in ("rd:2", "rd:4", "int8", "int4", "int4:g64", "ternary", "codebook16"):
        path = tmp_path / "x.taut.safetensors"
        taut.compress({"w": layer, "b": layer[:, 0].copy()}, path, plan={"w": scheme}, force=True)
        file = library.open_path(path)
        grid, values = grid_values(library, file, "w")
        assert values.astype(np.float32).tobytes() == TautFile(path)["w"].tobytes(), scheme
        seen.add((bool(grid.trellis), bool(grid.levels), grid.groups > 1))
    assert len(seen) >= 2
    with pytest.raises(TautCError, match="no grid"):
        grid_values(library, file, "b")


def test_a_matrix_in_a_basis_lies_on_no_grid(library):
    path = Path(__file__).parents[1] / "golden" / "files" / "basis2.taut.safetensors"
    file = library.open_path(path)
    with pytest.raises(TautCError, match="sums of a basis' rows"):
        grid_values(library, file, "words")
