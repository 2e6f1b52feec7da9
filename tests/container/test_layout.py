"""Where things lie: exact prediction, alignment, groups, growth."""

from __future__ import annotations

import json

import numpy as np
import pytest

import laconic
from laconic.compress import origin_of
from laconic.container import LaconicFile, Layout, Origin
from laconic.fill import fill, predict_size, resolve_plan
from laconic.io import open_source, read_header


def test_the_size_is_predicted_to_the_byte(file, arrays):
    source = open_source(arrays)
    size = predict_size(
        source, resolve_plan(source, None), effort="fast", threads=1, origin=origin_of(source)
    )
    assert size == file.stat().st_size


def test_kept_tensors_after_coded_ones_are_aligned(tmp_path, rng):
    arrays = {
        "coded": np.repeat(rng.standard_normal(9001).astype(np.float32), 3),
        "kept": rng.integers(0, 1 << 62, 4096),
    }
    path = tmp_path / "a.laconic.safetensors"
    laconic.compress(arrays, path, plan={"kept": "keep"})
    header = read_header(path)
    assert header.data_start % 8 == 0
    assert {t.name: t.start % 8 for t in header.tensors}["kept"] == 0


def test_solid_groups_end_at_4_mib(tmp_path, rng):
    arrays = {f"t{i:03}": rng.standard_normal(4000).astype(np.float32) for i in range(300)}
    path = tmp_path / "many.laconic.safetensors"
    laconic.compress(arrays, path)
    file = LaconicFile(path)
    assert [group.name for group in file.index.groups] == [
        "laconic.solid.F32",
        "laconic.solid.F32.1",
    ]
    assert sum(record.solid == 0 for record in file.index.records) == (4 << 20) // 16000
    assert len(read_header(path).tensors) == 3
    for name, array in file.tensors():
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize("count", [1, 40])
def test_random_bytes_grow_by_less_than_a_thousandth(tmp_path, rng, count):
    arrays = {f"layer.{i}": rng.bytes(4_000_000 // count) for i in range(count)}
    arrays = {name: np.frombuffer(data, np.uint8) for name, data in arrays.items()}
    result = laconic.compress(arrays, tmp_path / "r.laconic.safetensors")
    assert 1 < result.size / result.original_size < 1.001
    assert all(r.store == "kept" for r in LaconicFile(result.path).index.records)


def test_a_tiny_model_is_not_all_header(tmp_path, rng):
    arrays = {f"l{i}.{kind}": rng.standard_normal(64).astype(np.float32)
              for i in range(4) for kind in ("weight", "bias")}  # fmt: skip
    result = laconic.compress(arrays, tmp_path / "t.laconic.safetensors")
    assert result.original_size == 2048
    assert result.size - 2048 < 700


def test_a_layout_without_a_sink_holds_no_data(arrays):
    source = open_source(arrays)
    seen = bytearray()
    for emit in (None, seen.extend):
        layout = Layout(Origin(source.nbytes), source.infos, emit=emit)
        fill(layout, source, resolve_plan(source, None), effort="fast", threads=1)
        begin, header = layout.close()
        assert layout.size == begin + len(seen) or emit is None
    assert begin == 8 + len(header)
    names = [name for name in json.loads(header) if name != "__metadata__"]
    assert names[-1] == "laconic.index"


def test_the_same_bytes_at_any_thread_count_and_from_any_source(tmp_path, rng):
    from safetensors.numpy import save_file

    arrays = {f"w{i}": rng.standard_normal((600, 700)).astype(np.float32) for i in range(3)}
    save_file(arrays, tmp_path / "m.safetensors")
    written = []
    for threads in (1, 2, 5):
        path = tmp_path / f"{threads}.laconic.safetensors"
        laconic.compress(tmp_path / "m.safetensors", path, threads=threads)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("gap", [1 << 16, 1])
def test_a_body_is_moved_up_to_its_header_unless_the_gap_is_small(
    tmp_path, monkeypatch, arrays, gap
):
    monkeypatch.setattr("laconic.container.layout._GAP", gap)
    path = tmp_path / "gap.laconic.safetensors"
    result = laconic.compress(arrays, path)
    header = read_header(path).raw_json
    assert (len(header) - len(header.rstrip()) < 8) is (gap > 1)
    assert result.size == path.stat().st_size
    assert laconic.verify(path).tensors == len(arrays)
