"""GGUF files open as tensors, each type as its blocks; what is wrong with a file is named."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from tests.forge_gguf import Blob, Forged, blob, small_model, string

from taut.coding import encode_records
from taut.errors import ArgumentError, FormatError
from taut.io import open_source
from taut.io.ggml_layouts import layout_of
from taut.io.ggml_types import GGML_TYPES
from taut.io.gguf import open_gguf
from taut.io.gguf_merged import write_merged
from taut.io.records_info import RecordsInfo
from taut.io.source import parameters_of


def written(tmp_path: Path, data: bytes, name: str = "m.gguf") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_tensors_come_in_the_order_of_their_data_as_rows_of_blocks(tmp_path: Path) -> None:
    source = open_source(written(tmp_path, small_model().data()))
    shapes = {info.name: (info.dtype, info.shape) for info in source.infos}
    frame = shapes.pop("gguf.frame")
    assert frame[0] == "U8" and source.metadata == {"taut.gguf": "gguf.frame"}
    assert shapes == {
        "token_embd.weight": ("U8", (90, 136)),
        "blk.0.attn_norm.weight": ("F32", (1, 128)),
        "blk.0.ffn_up.weight": ("U8", (96, 72)),
        "blk.0.ffn_down.weight": ("U8", (128, 60)),
        "output.weight": ("F16", (40, 128)),
    }
    assert parameters_of(source) == 90 * 128 + 128 + 2 * 96 * 128 + 40 * 128
    for one in small_model().tensors:
        assert source.load(one.name).tobytes() == one.data


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_opens(version: int, tmp_path: Path) -> None:
    keys = (("general.architecture", 8, string("llama", version)),)
    data = Forged([blob("w", "Q4_0", 4, 64)], keys, version).data()
    assert open_source(written(tmp_path, data)).infos[0].shape == (4, 36)


def test_the_sizes_of_all_types_are_the_packages() -> None:
    gguf = pytest.importorskip("gguf")
    sizes = {
        kind.value: (kind.name, *gguf.GGML_QUANT_SIZES[kind]) for kind in gguf.GGMLQuantizationType
    }
    assert {n: (one.name, one.block, one.nbytes) for n, one in GGML_TYPES.items()} == sizes


def test_every_quantised_type_has_a_layout_that_codes_it() -> None:
    rng = np.random.default_rng(0)
    for one in GGML_TYPES.values():
        layout = layout_of(one.name)
        assert (layout is None) == bool(one.dtype)
        if layout is not None:
            blocks = rng.integers(0, 3, (60, one.nbytes)).astype(np.uint8)
            assert encode_records(blocks, layout, one.nbytes).nbytes < blocks.size


def split_model(tmp_path: Path) -> list[Path]:
    """A model in three files, of which the first has metadata alone."""
    key = ("split.count", 2, struct.pack("<H", 3))
    parts = ([], [blob("a", "Q4_0", 8, 64)], [blob("b", "Q8_0", 8, 64, 1)])
    return [
        written(tmp_path, Forged(part, (key,)).data(), f"net-{number:05}-of-00003.gguf")
        for number, part in enumerate(parts, 1)
    ]


def test_a_split_model_is_one_whichever_file_is_named(tmp_path: Path) -> None:
    paths = split_model(tmp_path)
    found = [[info.name for info in open_source(path).infos] for path in paths]
    assert found == [["a", "b", "gguf.frame"]] * 3
    paths[2].unlink()
    with pytest.raises(ArgumentError, match=r"one of 3 files, of which net-00003-of-00003\.gguf"):
        open_source(paths[0])


def test_a_split_model_becomes_one_file_that_says_nothing_of_it(tmp_path: Path) -> None:
    source = open_gguf(split_model(tmp_path)[0])
    whole = tmp_path / "whole.gguf"
    write_merged(source, whole)
    merged = open_gguf(whole)
    before, after = source.opened[0].header.keys, merged.opened[0].header.keys
    assert {name: one.value for name, one in after.items()} == {
        name: one.value for name, one in before.items() if name != "split.count"
    }
    assert len(merged.tensors) == 2
    for one in merged.tensors:
        np.testing.assert_array_equal(merged.load(one.name), source.load(one.name))


def test_a_part_under_another_name_is_no_whole_model(tmp_path: Path) -> None:
    path = split_model(tmp_path)[1].rename(tmp_path / "net.gguf")
    with pytest.raises(ArgumentError, match="a part of a model of 3 files"):
        open_source(path)


def test_a_frame_has_a_name_of_its_own(tmp_path: Path) -> None:
    source = open_source(written(tmp_path, Forged([blob("gguf.frame", "F32", 2, 4)]).data()))
    assert [info.name for info in source.infos] == ["gguf.frame", "gguf.frame.1"]


def test_metadata_alone_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no tensors, only metadata"):
        open_source(written(tmp_path, Forged([]).data()))


def test_a_tensor_of_large_rows_is_bytes(tmp_path: Path) -> None:
    rows = 1 << 23  # values: rows of more bytes than the coder takes
    data = Forged([Blob("w", (rows,), 8, bytes(rows // 32 * 34))]).data()
    info = open_source(written(tmp_path, data)).infos[0]
    assert not isinstance(info, RecordsInfo) and info.shape == (rows // 32 * 34,)


def test_a_damaged_file_of_this_name_is_told_as_gguf(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="does not begin with GGUF"):
        open_source(written(tmp_path, bytes([9, 200]) * 40))
