"""Where things lie: exact prediction, alignment, groups, growth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.coding import encode_lossless
from taut.compression.origin import origin_of
from taut.container import Layout, Origin, TautFile, Writer, xxh3
from taut.encoding.model import fill, predict_size, resolve_plan
from taut.errors import FormatError
from taut.io import TensorInfo, open_source, read_header


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
    path = tmp_path / "a.taut.safetensors"
    taut.compress(arrays, path, plan={"kept": "keep"})
    header = read_header(path)
    assert header.data_start % 8 == 0
    assert {t.name: t.start % 8 for t in header.tensors}["kept"] == 0


def test_solid_groups_end_at_4_mib(tmp_path, rng):
    arrays = {f"t{i:03}": rng.standard_normal(4000).astype(np.float32) for i in range(300)}
    path = tmp_path / "many.taut.safetensors"
    taut.compress(arrays, path)
    file = TautFile(path)
    assert [group.name for group in file.index.groups] == [
        "taut.solid.F32",
        "taut.solid.F32.1",
    ]
    assert sum(record.solid == 0 for record in file.index.records) == (4 << 20) // 16000
    assert len(read_header(path).tensors) == 3
    for name, array in file.tensors():
        assert np.array_equal(array, arrays[name])


@pytest.mark.parametrize("count", [1, 40])
def test_random_bytes_grow_by_less_than_a_thousandth(tmp_path, rng, count):
    arrays = {f"layer.{i}": rng.bytes(4_000_000 // count) for i in range(count)}
    arrays = {name: np.frombuffer(data, np.uint8) for name, data in arrays.items()}
    result = taut.compress(arrays, tmp_path / "r.taut.safetensors")
    assert 1 < result.size / result.original_size < 1.001
    assert all(r.store == "kept" for r in TautFile(result.path).index.records)


def test_a_tiny_model_is_not_all_header(tmp_path, rng):
    arrays = {f"l{i}.{kind}": rng.standard_normal(64).astype(np.float32)
              for i in range(4) for kind in ("weight", "bias")}  # fmt: skip
    result = taut.compress(arrays, tmp_path / "t.taut.safetensors")
    assert result.original_size == 2048
    assert result.size - 2048 < 700


def overhead(shapes: dict[str, tuple[int, ...]], path: Path) -> int:
    """Bytes of a file of coded arrays of these shapes beyond those of the arrays themselves."""
    rng = np.random.default_rng(5)
    infos = [TensorInfo(n, "F32", s, 4 * int(np.prod(s))) for n, s in shapes.items()]
    own = 0
    with Writer(path, Origin(1_724_920, {}, (("lenet5.safetensors", "{}"),)), infos) as writer:
        for info in infos:
            values = rng.integers(0, 2, info.shape).astype(np.float32)
            coded = encode_lossless(values)
            own += coded.nbytes
            error = float(rng.uniform(0.01, 0.9))
            writer.layout.add_coded(info, "rd", coded, xxh3(values), rel_mse=error)
        return writer.finish().size - own


def test_small_tensors_cost_a_dozen_bytes_each(tmp_path):
    conv = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (50, 80), "fc2": (10, 50)}
    lenet = {}
    for name, shape in conv.items():
        lenet |= {f"{name}.bias": shape[:1], f"{name}.weight": shape}
    assert 0 < overhead(lenet, tmp_path / "lenet") < 310
    parts = ("weight", "bias", "running_mean", "running_var")
    resnet = {
        f"layer{stage}.{block}.{part}": (width,)
        for stage, width in ((1, 16), (2, 32), (3, 64))
        for block in range(5)
        for part in ("conv1.weight", "conv2.weight", *(f"bn{k}.{p}" for k in (1, 2) for p in parts))
    }
    assert len(resnet) == 150
    assert 0 < overhead(resnet, tmp_path / "resnet") < 1100


def test_a_full_pack_gets_an_entry_and_one_tensor_is_decoded_alone(tmp_path, rng):
    sparse = rng.standard_normal((40, 64, 80)) * (rng.random((40, 64, 80)) < 0.5)
    arrays = {f"t{k:02}": block.astype(np.float32) for k, block in enumerate(sparse)}
    path = tmp_path / "packs"
    taut.compress(arrays, path)
    file = TautFile(path)
    assert [pack.name for pack in file.index.packs] == ["taut.pack", "taut.pack.1"]
    assert [t.name for t in read_header(path).tensors][:2] == ["taut.pack", "taut.pack.1"]
    assert all(place.part.nbytes <= 1 << 18 for place in file.contents.packs)
    assert {record.store for record in file.index.records} == {"packed"}
    assert np.array_equal(file["t37"], arrays["t37"])
    taken = sum(tensor.bytes for tensor in taut.info(path).tensors)
    assert taken == sum(place.part.nbytes for place in file.contents.packs)


def test_modules_are_given_back(tmp_path):
    info = TensorInfo("w", "F32", (3,), 12)
    modules = {"conv1": {"out_channels": 3, "groups": 1}, "layer.0": {"heads": -1}}
    with Writer(tmp_path / "m", Origin(12, modules=modules), [info]) as writer:
        writer.layout.add_small(info, "lossless", np.ones(3, np.float32))
        writer.finish()
    assert TautFile(tmp_path / "m").modules == modules
    taut.compress({"w": np.ones(3)}, tmp_path / "n")
    assert TautFile(tmp_path / "n").modules == {}


def test_modules_that_no_reader_takes_are_found_before_the_rename(tmp_path):
    info = TensorInfo("w", "F32", (3,), 12)
    with (
        pytest.raises(FormatError, match="not the name of an attribute"),
        Writer(tmp_path / "m", Origin(12, modules={"a": {"b c": 1}}), [info]) as writer,
    ):
        writer.layout.add_small(info, "lossless", np.ones(3, np.float32))
        writer.finish()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_come_back_to_the_bit_needs_no_header_of_its_own(tmp_path, rng):
    values = rng.standard_normal((64, 64)).astype(np.float32)
    odd = b'{ "w" : {"dtype":"F32","shape":[64,64],"data_offsets":[0,16384]}}   '
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(odd).to_bytes(8, "little") + odd + values.tobytes())
    taut.compress(path, tmp_path / "exact")
    taut.decompress(tmp_path / "exact", tmp_path / "exact.safetensors")
    assert (tmp_path / "exact.safetensors").read_bytes() == path.read_bytes()
    taut.compress(path, tmp_path / "lossy", bits=4)
    ((name, header),) = TautFile(tmp_path / "lossy").index.origin.files
    assert name == "odd.safetensors"
    assert header.rstrip() == '{"w":{"dtype":"F32","shape":[64,64],"data_offsets":[0,16384]}}'
    taut.decompress(tmp_path / "lossy", tmp_path / "lossy.safetensors")


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
    assert names[-1] == "taut.index"


def test_the_same_bytes_at_any_thread_count_and_from_any_source(tmp_path, rng):
    from safetensors.numpy import save_file

    arrays = {f"w{i}": rng.standard_normal((600, 700)).astype(np.float32) for i in range(3)}
    save_file(arrays, tmp_path / "m.safetensors")
    written = []
    for threads in (1, 2, 5):
        path = tmp_path / f"{threads}.taut.safetensors"
        taut.compress(tmp_path / "m.safetensors", path, threads=threads)
        written.append(path.read_bytes())
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("gap", [1 << 16, 1])
def test_a_body_is_moved_up_to_its_header_unless_the_gap_is_small(
    tmp_path, monkeypatch, arrays, gap
):
    monkeypatch.setattr("taut.container.layout._GAP", gap)
    path = tmp_path / "gap.taut.safetensors"
    result = taut.compress(arrays, path)
    header = read_header(path).raw_json
    assert (len(header) - len(header.rstrip()) < 8) is (gap > 1)
    assert result.size == path.stat().st_size
    assert taut.verify(path).tensors == len(arrays)
