"""Files that stand on a base: what they give back, and which bases they refuse."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import taut
from taut.container.bases import DEEPEST, add
from taut.errors import ArgumentError, TautError, VerifyError


def model(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "w": (rng.standard_normal((64, 96)) * 0.1).astype(np.float32),
        "half": (rng.standard_normal((128, 80)) * 0.1).astype(ml_dtypes.bfloat16),
        "bias": rng.standard_normal(96).astype(np.float32),
        "ids": rng.integers(0, 9, 40),
        "same": rng.standard_normal((50, 90)).astype(np.float32),
    }


def tuned(base):
    rng = np.random.default_rng(9)
    changed = dict(base)
    changed["w"] = base["w"] + np.float32(1e-4) * rng.standard_normal((64, 96), np.float32)
    changed["bias"] = base["bias"] * np.float32(1.001)
    bits = base["half"].view(np.uint16).copy()
    bits[3::40] += 1
    changed["half"] = bits.view(ml_dtypes.bfloat16)
    return changed


@pytest.fixture
def files(tmp_path):
    base, fine = model(), tuned(model())
    save_file(base, tmp_path / "base.safetensors")
    save_file(fine, tmp_path / "fine.safetensors", metadata={"format": "pt"})
    return tmp_path


def equal(found, expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert found[name].tobytes() == values.tobytes(), name


def compress(folder, fine="fine", base="base", **asked):
    dst = folder / f"{fine}.taut.safetensors"
    return taut.compress(folder / f"{fine}.safetensors", dst, base=folder / base, **asked)


def test_a_delta_gives_the_file_back_byte_for_byte_and_tensors_one_by_one(files):
    result = compress(files, base="base.safetensors")
    base = files / "base.safetensors"
    alone = taut.compress(files / "fine.safetensors", files / "alone.taut.safetensors")
    assert result.size < alone.size / 2 and result.base == "base.safetensors"
    opened = taut.load(result.path, base=base)
    expected = load_file(files / "fine.safetensors")
    equal({name: opened[name] for name in opened}, expected)
    equal(opened.load_all(), expected)
    equal(taut.load(result.path, base=model()), expected)  # what is in memory will do
    taut.decompress(result.path, files / "again.safetensors", base=base)
    assert (files / "again.safetensors").read_bytes() == (files / "fine.safetensors").read_bytes()
    report = taut.verify(result.path, base=base)
    assert report.decoded == sum(t.nbytes for t in expected.values())
    by_name = {t.name: t.bytes for t in taut.info(result.path).tensors}
    assert by_name["same"] == by_name["ids"] == 0


def test_a_base_is_found_beside_the_file_under_the_name_that_it_had(files):
    path = compress(files, base="base.safetensors").path
    equal(taut.load(path), tuned(model()))
    (files / "base.safetensors").rename(files / "other.safetensors")
    with pytest.raises(ArgumentError, match=r'its base "base\.safetensors" is not'):
        taut.load(path)["w"]


@pytest.mark.parametrize("shard_size", [None, 20_000])
@pytest.mark.parametrize("coded", [False, True])
def test_a_folder_is_found_beside_the_folder_of_its_delta(coded, shard_size, tmp_path, monkeypatch):
    for name, tensors in (("base", model()), ("fine", tuned(model()))):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / "model.safetensors")
    base = tmp_path / "base"
    if coded:
        taut.compress(base, tmp_path / "coded", shard_size=shard_size)
        base = tmp_path / "coded"
    out = tmp_path / "out"
    taut.compress(tmp_path / "fine", out, base=f"{base}/", shard_size=shard_size)
    assert taut.info(out).base == base.name
    equal(taut.load(out), tuned(model()))
    monkeypatch.chdir(out)
    taut.verify(".")
    one = taut.compress(tmp_path / "fine", tmp_path / "fine.taut.safetensors", base=base).path
    equal(taut.load(one), tuned(model()))
    out.rename(tmp_path / "kept")
    base.rename(out)
    (tmp_path / "kept").rename(base)  # a delta is not its own base
    with pytest.raises(ArgumentError, match=rf'its base "{base.name}" is not there'):
        taut.load(base)["w"]


def test_another_base_is_refused_by_the_tensor_that_differs(files):
    path = compress(files, base="base.safetensors").path
    other = model() | {"half": model(1)["half"]}
    opened = taut.load(path, base=other)
    equal({"w": opened["w"]}, {"w": tuned(model())["w"]})
    with pytest.raises(VerifyError, match='has another "half"') as refused:
        opened["half"]
    assert refused.value.tensor == "half"
    with pytest.raises(VerifyError, match="half"):
        taut.verify(path, base=other)
    with pytest.raises(VerifyError, match="half"):
        taut.decompress(path, files / "out.safetensors", base=other)
    assert not (files / "out.safetensors").exists()
    with pytest.raises(ArgumentError, match='stands on "w"'):
        taut.load(path, base={"v": np.zeros(3)})["w"]
    with pytest.raises(VerifyError, match=r"F64 \[64, 96\], not F32"):
        taut.load(path, base=model() | {"w": np.zeros((64, 96))})["w"]


def test_new_renamed_reshaped_and_missing_tensors(tmp_path):
    base = model()
    changed = tuned(base)
    changed["renamed"] = changed.pop("same")
    changed["new"] = np.arange(7000, dtype=np.float32)
    changed["ids"] = np.arange(12).reshape(3, 4)
    del changed["bias"]
    path = tmp_path / "d.taut.safetensors"
    taut.compress(changed, path, base=base)
    equal(taut.load(path, base=base), changed)
    stores = {record.name: record for record in taut.load(path, base=base).index.records}
    assert stores["renamed"].store == "base" and stores["renamed"].base_name == "same"
    assert not stores["new"].base_sum and not stores["ids"].base_sum


def test_the_difference_is_what_is_rounded(files):
    base = files / "base.safetensors"
    result = compress(files, base="base.safetensors", bits=2)
    alone = taut.compress(files / "fine.safetensors", files / "alone.taut.safetensors", bits=2)
    lost = {tensor.name: tensor.rel_mse for tensor in result.tensors}
    assert 0 < lost["w"] < 1e-3 * {t.name: t.rel_mse for t in alone.tensors}["w"]
    found, fine = taut.load(result.path, base=base), tuned(model())
    error = np.square(found["w"] - fine["w"]).sum() / np.square(fine["w"]).sum()
    assert error == pytest.approx(lost["w"], rel=0.02)
    assert found["half"].dtype == fine["half"].dtype
    taut.verify(result.path, base=base)


def test_what_is_far_from_the_base_is_rounded_alone(tmp_path):
    base = {"w": model()["w"]}
    far = {"w": -base["w"]}
    path = taut.compress(far, tmp_path / "far.taut.safetensors", base=base, bits=2).path
    (record,) = taut.load(path).index.records
    assert record.base == "" and record.rel_mse < 0.2


def test_a_lossy_file_is_a_base_as_it_decodes(files):
    lossy = taut.compress(files / "base.safetensors", files / "low.taut.safetensors", bits=4)
    path = compress(files, base="low.taut.safetensors").path
    equal(taut.load(path), tuned(model()))
    assert lossy.path.name == taut.info(path).base
    with pytest.raises(VerifyError, match="another"):
        taut.load(path, base=files / "base.safetensors")["w"]


def test_deltas_stand_on_one_another_to_a_depth(tmp_path):
    values = np.arange(5000, dtype=np.float32)
    save_file({"a": values}, tmp_path / "0.safetensors")
    base = "0.safetensors"
    for number in range(1, DEEPEST + 1):
        save_file({"a": values + number}, tmp_path / f"{number}.safetensors")
        base = compress(tmp_path, str(number), base).path.name
    equal(taut.load(tmp_path / base), {"a": values + DEEPEST})
    with pytest.raises(ArgumentError, match="decompress"):
        compress(tmp_path, "1", base, force=True)


def test_several_bases_are_given_in_a_list(files):
    low = compress(files, base="base.safetensors").path
    folder = files / "elsewhere"
    folder.mkdir()
    moved = low.rename(folder / low.name)
    save_file(model(), folder / "third.safetensors")
    third = taut.compress(
        folder / "third.safetensors",
        folder / "third.taut.safetensors",
        base=[moved, files / "base.safetensors"],
    )
    equal(taut.load(third.path, base=[moved, files / "base.safetensors"]), model())
    with pytest.raises(ArgumentError, match="needs none"):
        taut.load(third.path, base=[moved, files / "base.safetensors", moved])


def test_shards_are_a_base_and_stand_on_one(files, tmp_path):
    index = {"metadata": {}, "weight_map": {}}
    for number, names in enumerate((["w", "half"], ["bias", "ids", "same"])):
        name = f"model-{number}.safetensors"
        save_file({one: model()[one] for one in names}, files / name)
        index["weight_map"] |= dict.fromkeys(names, name)
    (files / "model.safetensors.index.json").write_text(json.dumps(index))
    base = files / "model.safetensors.index.json"
    path = taut.compress(files / "fine.safetensors", files / "d.taut.safetensors", base=base).path
    equal(taut.load(path, base=base), tuned(model()))
    cut = taut.compress(files / "fine.safetensors", files / "cut", base=base, shard_size=20_000)
    equal(taut.load(cut.path, base=base), tuned(model()))
    assert taut.info(cut.path).base == base.name


def test_what_does_not_go_with_a_base_is_refused_before_the_work(files):
    fine, dst = files / "fine.safetensors", files / "d.taut.safetensors"
    with pytest.raises(ArgumentError, match="none of the tensors"):
        taut.compress(fine, dst, base={"other": np.zeros(3)})
    with pytest.raises(ArgumentError, match="no such file"):
        taut.compress(fine, dst, base=files / "nowhere.safetensors")
    with pytest.raises(ArgumentError, match="--train"):
        taut.compress(fine, dst, base=model(), train=[])
    assert not dst.exists()
    plain = taut.compress(fine, dst)
    with pytest.raises(ArgumentError, match="needs no base"):
        taut.load(plain.path, base=model())


def test_a_base_that_is_cut_short_is_named(files):
    path = compress(files, base="base.safetensors").path
    data = (files / "base.safetensors").read_bytes()
    (files / "base.safetensors").write_bytes(data[:-100])
    with pytest.raises(TautError, match=r"base\.safetensors"):
        taut.load(path)


def test_sums_are_rounded_once_to_nearest_even():
    base = np.array([1.0, 1.0], ml_dtypes.bfloat16)
    found = add(base, np.array([2**-8, 2**-8 + 2**-20], np.float32))
    assert found.astype(np.float32).tolist() == [1.0, 1.0078125]


def test_a_model_of_which_every_tensor_was_renamed_stands_on_its_base(tmp_path):
    base = model()
    renamed = {f"model.{name}": values for name, values in base.items()}
    out = taut.compress(renamed, tmp_path / "a.taut.safetensors", base=base).path
    equal(taut.load(out, base=base), renamed)
    assert out.stat().st_size < 1500


def test_a_bit_exact_delta_that_has_the_size_is_what_is_written(tmp_path):
    rng = np.random.default_rng(0)
    base = {
        "w": rng.standard_normal((64, 32)).astype("f4"),
        "b": rng.standard_normal(9000).astype("f4"),
    }
    few = base["b"].copy()
    few[::90] *= np.float32(1.0000002)
    out = tmp_path / "d.taut.safetensors"
    for fine in (base, base | {"b": few}, {"e": np.arange(3000)}):  # rounded, biases take 16 kB
        under = base if "w" in fine else {"e": np.arange(3000) - 1}
        size = taut.compress(fine, out, base=under, force=True).size
        values = sum(one.size for one in fine.values())
        for asked in ({"size": size}, {"bits": 8 * (size + 5) / values}):
            assert taut.compress(fine, out, base=under, force=True, **asked).size == size
        equal(taut.load(out, base=under), fine)


def test_a_tiny_delta_takes_what_is_nearest_below(tmp_path):
    base = {"w": np.random.default_rng(0).standard_normal((64, 32)).astype("f4")}
    fine = {"w": base["w"].copy()}
    fine["w"][0, 0] += 1
    result = taut.compress(fine, tmp_path / "d.taut.safetensors", base=base, bits=1)
    assert 192 < result.size <= 256


def test_neither_a_delta_nor_what_it_gives_is_written_over_its_base(files):
    base = files / "base.safetensors"
    meant = base.read_bytes()
    with pytest.raises(ArgumentError, match="is the base"):
        taut.compress(files / "fine.safetensors", base, base=base, force=True)
    with pytest.raises(ArgumentError, match="is the base"):
        taut.compress(load_file(files / "fine.safetensors"), base, base=base, force=True)
    compress(files, base="base.safetensors")
    delta = files / "fine.taut.safetensors"
    taut.compress(
        load_file(files / "fine.safetensors"), files / "next.taut.safetensors", base=delta
    )
    for file in (delta, files / "next.taut.safetensors"):
        with pytest.raises(ArgumentError, match="stands on"):
            taut.decompress(file, base, force=True)
    with pytest.raises(ArgumentError, match="is the base"):
        taut.compress(files / "fine.safetensors", base, base=delta, force=True)
    assert base.read_bytes() == meant


def test_a_folder_that_a_delta_stands_on_takes_nothing_of_it(tmp_path):
    for name, tensors, file in (("base", model(), "weights"), ("fine", tuned(model()), "model")):
        (tmp_path / name).mkdir()
        save_file(tensors, tmp_path / name / f"{file}.safetensors")
        (tmp_path / name / "config.json").write_text(f'{{"model_type": "{name}"}}')
    base, fine = tmp_path / "base", tmp_path / "fine"
    before = {path: path.read_bytes() for path in base.iterdir()}
    with pytest.raises(ArgumentError, match=r"is the base .* another folder"):
        taut.compress(fine, base, base=base, force=True)
    with pytest.raises(ArgumentError, match=r"is the base .* another folder"):
        taut.compress(fine, base, base=base, force=True, shard_size=20_000)
    taut.compress(fine, tmp_path / "delta", base=base)
    with pytest.raises(ArgumentError, match="stands on; name another folder"):
        taut.decompress(tmp_path / "delta", base, base=base, force=True)
    assert {path: path.read_bytes() for path in base.iterdir()} == before
    taut.decompress(tmp_path / "delta", tmp_path / "again", base=base)
    equal(load_file(tmp_path / "again" / "model.safetensors"), tuned(model()))


def test_a_base_of_other_dtypes_is_refused_with_what_it_has(tmp_path):
    fine = {"w": np.ones((64, 32), np.float32)}
    with pytest.raises(
        ArgumentError, match=r'"w" is F32 \[64, 32\], there U8 \[64, 18\]: a bit-exact'
    ):
        taut.compress(fine, tmp_path / "d", base={"w": np.ones((64, 18), np.uint8)}, bits=3)
