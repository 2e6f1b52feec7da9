"""The npm package reads what Python reads, to the bit, and refuses what Python refuses."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import xxhash
from tests.attacks.forge import Forgery
from tests.js.conftest import BUILT, ROOT, node, read_all
from tests.thorough import examples

import taut
from taut.container import open_taut
from taut.container.format import as_bytes
from taut.errors import FormatError, VerifyError

GOLDEN = sorted((ROOT / "tests" / "golden" / "files").glob("*.taut.safetensors"))
REFUSAL = (FormatError, VerifyError)
SCHEMES = (
    "lossless", "keep", "fp16", "fp8", "int8", "int4:g64,asym", "int2", "rd:2", "ternary",
    "codebook16", "2:4", "90%",
)  # fmt: skip


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def weights(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.standard_normal((rows, columns)) * np.exp(rng.uniform(-6, 0, (rows, 1)))


def check(folder: Path, package: Path) -> dict[str, str]:
    """Compare the two readers over a folder; gives which files were read and which refused."""
    outcomes = {}
    for name, found in read_all(folder, package).items():
        try:
            file = open_taut(folder / name)
        except REFUSAL as error:
            assert "refused" in found, (name, error)
            outcomes[name] = "refused"
            continue
        assert "tensors" in found, (name, found)
        assert found["order"] == list(file), name
        for info in file.infos:
            one = found["tensors"][info.name]
            assert (one["dtype"], tuple(one["shape"])) == (info.dtype, info.shape), name
            try:
                expected = sha(as_bytes(file[info.name]).tobytes())
            except REFUSAL as error:
                assert "refused" in one["sum"], (name, info.name, error)
                continue
            assert one["sum"] == expected, (name, info.name)
        assert found["modules"] == {k: dict(v) for k, v in file.modules.items() if v}, name
        outcomes[name] = "read"
    return outcomes


def test_the_tests_in_javascript_pass(package: Path) -> None:
    said = node("--test", *sorted((ROOT / "js" / "test").glob("*.test.mjs")))
    assert "\n# fail 0\n" in said and "\n# skipped 0\n" in said


def test_a_module_takes_at_most_120_kb(package: Path) -> None:
    for name in ("taut.wasm", "taut-simd.wasm"):
        assert len(gzip.compress((package / name).read_bytes(), 9)) <= 120_000, name


def test_the_package_is_of_this_version_and_needs_nothing() -> None:
    said = json.loads((ROOT / "js" / "package.json").read_text(encoding="utf-8"))
    assert said["version"] == taut.__version__
    assert "dependencies" not in said and said["type"] == "module"


def test_files_of_every_scheme_and_dtype_are_read(package: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    layer = weights(rng, 200, 256).astype(np.float32)
    model = {"w": layer, "bias": layer[:, 0].copy(), "again": layer.copy()}
    for number, scheme in enumerate(SCHEMES):
        taut.compress(model, tmp_path / f"{number}.taut.safetensors", plan={"w": scheme})
    taut.compress(model, tmp_path / "max.taut.safetensors", bits=2.5, effort="max")
    kinds = (
        np.float16, np.float64, ml_dtypes.bfloat16, np.int8, np.int16, np.int32, np.int64, np.uint8,
        np.uint16, np.uint32, np.uint64, np.bool_, np.complex64, ml_dtypes.float8_e4m3fn,
    )  # fmt: skip
    dtypes = {np.dtype(kind).name: (weights(rng, 40, 60) * 20).astype(kind) for kind in kinds}
    dtypes |= {"empty": np.empty((0, 3), np.float32), "7": np.array(2.5, np.float32)}
    taut.compress(dtypes, tmp_path / "dtypes.taut.safetensors")
    assert set(check(tmp_path, package).values()) == {"read"}


def test_the_original_comes_back(package: Path, tmp_path: Path) -> None:
    for path in GOLDEN:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    found = read_all(tmp_path, package)
    for path in GOLDEN:
        out = tmp_path / ("out.gguf" if "gguf" in path.name else "out.safetensors")
        taut.decompress(path, out, force=True)
        ((_, one),) = found[path.name]["originals"]
        assert one == sha(out.read_bytes()), path.name


def test_an_onnx_model_comes_back(package: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    values = weights(np.random.default_rng(8), 300, 200).astype(np.float32)
    shapes = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
        for name, width in (("x", 300), ("y", 200))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node], "g", shapes[:1], shapes[1:], [numpy_helper.from_array(values, "w")]
    )
    onnx.save(helper.make_model(graph), tmp_path / "net.onnx")
    taut.compress(tmp_path / "net.onnx", tmp_path / "exact.taut.safetensors")
    taut.compress(tmp_path / "net.onnx", tmp_path / "lossy.taut.safetensors", bits=3.0)
    found = read_all(tmp_path, package)
    for name in ("exact", "lossy"):
        out = tmp_path / f"{name}.onnx"
        taut.decompress(tmp_path / f"{name}.taut.safetensors", out)
        assert found[f"{name}.taut.safetensors"]["onnx"] == sha(out.read_bytes())
    assert (tmp_path / "exact.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
    assert (tmp_path / "lossy.taut.safetensors").stat().st_size < values.nbytes / 8


def test_a_model_in_shards_is_read_as_one(package: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    rng = np.random.default_rng(6)
    model = {str(10 - k): weights(rng, 64, 96).astype(np.float32) for k in range(5)}
    save_file(model, tmp_path / "model.safetensors")
    out = tmp_path / "shards"
    taut.compress(tmp_path / "model.safetensors", out, shard_size="40kB")
    names = sorted(path.name for path in out.iterdir())
    assert len(names) > 2 and check(out, package)["model.taut.safetensors.index.json"] == "read"
    shards = [name for name in names if name.endswith(".taut.safetensors")]
    data = (out / shards[0]).read_bytes()
    (out / shards[0]).write_bytes((out / shards[1]).read_bytes())
    found = read_all(out, package)["model.taut.safetensors.index.json"]
    assert found["refused"] == "checksum"
    (out / shards[0]).write_bytes(data)
    index = out / "model.taut.safetensors.index.json"
    index.write_text(index.read_text().replace('"10"', '"11"'))
    found = read_all(out, package)[index.name]
    assert found["refused"] == "checksum"


def test_hostile_indexes_of_shards_are_refused(package: Path, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    model = {f"w{k}": np.arange(2000, dtype=np.float32) + k for k in range(3)}
    save_file(model, tmp_path / "model.safetensors")
    out = tmp_path / "out"
    taut.compress(tmp_path / "model.safetensors", out, shard_size="8kB")
    (index,) = out.glob("*.index.json")
    sound = index.read_text()
    tree = json.loads(sound)
    first, second = (one["name"] for one in tree["shards"][:2])
    changes = {
        "up": sound.replace(first, f"../{first}"),
        "once": sound.replace(f'"name": "{second}"', f'"name": "{first}"'),
        "foreign": sound.replace(f'"w0": "{first}"', '"w0": "x.taut.safetensors"'),
        "moved": sound.replace(f'"w0": "{first}"', f'"w0": "{second}"'),
        "more": sound.replace('"w0":', f'"w9": "{first}", "w0":'),
        "twice": sound.replace('"w0":', f'"w0": "{second}", "w0":'),
        "cut": sound[: len(sound) // 2],
        "shards": sound.replace('"shards":', '"shads":'),
    }
    begin = len('{"metadata":{"taut":"2","checksum":"')
    for name, text in changes.items():
        assert text != sound, name
        data = f"{text[:begin]}{'0' * 16}{text[begin + 16 :]}".encode()
        digits = xxhash.xxh3_64_hexdigest(data).encode()
        path = out / f"{name}.taut.safetensors.index.json"
        path.write_bytes(data[:begin] + digits + data[begin + 16 :])
    found = read_all(out, package)
    assert "tensors" in found[index.name]
    for name in changes:
        one = found[f"{name}.taut.safetensors.index.json"]
        assert one["refused"] in ("format", "read"), (name, one)


def test_damage_behind_valid_checksums_is_met_alike(package: Path, tmp_path: Path) -> None:
    pick = random.Random(7)
    for golden in GOLDEN:
        for number in range(examples(60)):
            forgery = Forgery.of(golden.read_bytes())
            if not forgery.parts:
                break
            pieces = forgery.parts[pick.choice(sorted(forgery.parts))]
            at = pick.randrange(len(pieces))
            piece = bytearray(pieces[at])
            for _ in range(1 + pick.randrange(3)):
                if piece:
                    piece[pick.randrange(len(piece))] = pick.randrange(256)
            pieces[at] = bytes(piece)
            (tmp_path / f"{number}-{golden.name}").write_bytes(forgery.signed())
    check(tmp_path, package)


@pytest.mark.slow("runs the attacks once more, to have their files")
def test_the_attacks_are_met_alike(package: Path, tmp_path: Path) -> None:
    attacks = [f"tests/attacks/test_{name}.py" for name in ("indexes", "headers", "streams")]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.js.collected",
        "-p",
        "no:cacheprovider",
    ]
    some = {name: value for name, value in os.environ.items() if name not in ("CI", "TAUT_SLOW")}
    done = subprocess.run(
        [*command, *attacks, "-p", "no:cacheprovider"], cwd=ROOT,
        env={**some, "TAUT_COLLECTED": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    outcomes = check(tmp_path, package)
    assert len(outcomes) > 100 and "refused" in outcomes.values()


def test_the_built_package_is_not_committed() -> None:
    assert BUILT.relative_to(ROOT).parts[0] == "build"
    assert not list((ROOT / "js").rglob("*.wasm"))
