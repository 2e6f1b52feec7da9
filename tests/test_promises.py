"""The ten promises of the design, those in reach so far, each from end to end on a real model."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.errors import ArgumentError, TargetError, VerifyError

PACKAGE = Path(taut.__file__).parent


@pytest.fixture(scope="module")
def compressed(minilm, tmp_path_factory):
    """MiniLM without loss: the result of compressing it."""
    path = tmp_path_factory.mktemp("promises") / "minilm.taut.safetensors"
    return taut.compress(minilm / "model.safetensors", path)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_1_bytes_on_disk_are_the_unit_estimated_before_and_exact_after(compressed, minilm):
    estimate = taut.compress(minilm / "model.safetensors", dry_run=True)
    assert estimate.size == pytest.approx(compressed.size, rel=0.03)
    assert compressed.size == compressed.path.stat().st_size
    assert compressed.bits == 8 * compressed.size / compressed.parameters
    assert compressed.size / compressed.original_size < 0.8192  # ZipNN 0.5.4


MEMORY = """
import json, re, sys
import taut
result = taut.compress(sys.argv[1], sys.argv[2], dry_run=len(sys.argv) > 3)
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
print(json.dumps([result.peak_memory, peak]))
"""


@pytest.mark.slow("a process of which the memory is measured")
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_3_peak_memory_is_about_a_tensor_and_is_told_before(tmp_path, rng):
    from safetensors.numpy import save_file

    tensors = {f"w{i}": rng.standard_normal((1000, 2000)).astype(np.float32) for i in range(24)}
    save_file(tensors, tmp_path / "m.safetensors")
    arguments = [sys.executable, "-c", MEMORY, str(tmp_path / "m.safetensors"), str(tmp_path / "c")]
    told, _ = json.loads(subprocess.check_output([*arguments, "dry"]))
    assert not (tmp_path / "c").exists()
    measured, peak = json.loads(subprocess.check_output(arguments))
    assert measured == pytest.approx(peak, rel=0.01)
    assert told < 160e6  # the model has 192 MB, Python with numpy 60 MB, a tensor 8 MB
    assert peak < told


def test_4_long_work_shows_progress(minilm, tmp_path):
    steps = []
    taut.compress(
        minilm / "model.safetensors",
        tmp_path / "x",
        progress=lambda *step: steps.append(step),
    )
    total = len(TautFile(tmp_path / "x"))
    assert steps == [(s, n + 1, total) for s in ("encode", "verify") for n in range(total)]


def test_5_nothing_stays_that_was_not_decoded_and_compared(minilm, tmp_path, monkeypatch):
    seen = []
    real = TautFile.__getitem__

    def watched(self: TautFile, name: str) -> np.ndarray:
        seen.append(name)
        assert not (tmp_path / "x").exists()  # the rename comes last
        array = real(self, name)
        if len(seen) == 50:
            array.reshape(-1).view(np.uint8)[0] ^= 1
        return array

    monkeypatch.setattr(TautFile, "__getitem__", watched)
    with pytest.raises(VerifyError, match=r'tensor ".*" decodes to other values'):
        taut.compress(minilm / "model.safetensors", tmp_path / "x")
    assert len(seen) == 50
    assert list(tmp_path.iterdir()) == []


def test_5_a_rule_that_matches_nothing_is_an_error(minilm, tmp_path):
    with pytest.raises(ArgumentError, match=r"matches no tensor; nearest: encoder\.layer\.0"):
        taut.compress(
            minilm / "model.safetensors",
            tmp_path / "x",
            plan={"encoder.layer.0.attention.self.qeury.weight": "keep"},
        )


def test_5_nan_is_found_and_named(tmp_path):
    array = np.ones((4, 4), np.float32)
    array[2, 3] = np.nan
    with pytest.raises(ArgumentError, match=r'"head" has the value nan at \[2, 3\]'):
        taut.compress({"head": array}, tmp_path / "x", plan={"head": "fp16"})


def test_lossless_is_bit_exact_for_a_real_model(compressed, minilm, tmp_path):
    restored = taut.decompress(compressed.path, tmp_path / "back.safetensors")
    assert digest(restored.path) == digest(minilm / "model.safetensors")
    report = taut.verify(compressed.path)
    assert report.tensors == len(compressed.tensors)
    assert all(tensor.rel_mse == 0 for tensor in compressed.tensors)


def test_8_the_report_says_what_got_smaller_tensor_by_tensor(compressed):
    total = sum(tensor.bytes for tensor in compressed.tensors)
    assert 0 < compressed.size - total < 30_000  # header and index
    largest = max(compressed.tensors, key=lambda tensor: tensor.bytes)
    assert largest.name == "embeddings.word_embeddings.weight"
    assert 24 < largest.bits < 28


def test_9_no_pickle_anywhere():
    sources = {path: path.read_text() for path in PACKAGE.rglob("*.py")}
    assert not [
        path for path, text in sources.items() if re.search(r"^\s*import pickle\b", text, re.M)
    ]


def test_9_compressing_and_loading_need_no_torch(tmp_path):
    program = (
        "import sys, numpy as np, taut\n"
        "path = sys.argv[1]\n"
        "taut.compress({'w': np.ones((99, 99))}, path)\n"
        "assert taut.load(path)['w'].sum() == 9801 and taut.verify(path)\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], check=True)


def test_10_the_version_is_in_the_file(compressed):
    with compressed.path.open("rb") as file:
        assert file.read(200)[8:].startswith(b'{"__metadata__":{"taut":"2",')


def test_deterministic_at_any_thread_count(compressed, minilm, tmp_path):
    taut.compress(minilm / "model.safetensors", tmp_path / "one", threads=1)
    taut.compress(minilm / "model.safetensors", tmp_path / "three", threads=3)
    assert digest(tmp_path / "one") == digest(tmp_path / "three") == digest(compressed.path)


@pytest.mark.slow("searches a size for a real encoder")
@pytest.mark.parametrize("size", ["8x", "12MB"])
def test_2_a_size_is_met_within_a_percent_from_below(minilm, tmp_path, size):
    result = taut.compress(minilm / "model.safetensors", tmp_path / "x", size=size, threads=2)
    wanted = result.original_size / 8 if size == "8x" else 12e6
    assert 0.99 * wanted <= (tmp_path / "x").stat().st_size <= wanted


def test_2_a_target_out_of_reach_gives_the_best_and_writes_nothing(minilm, tmp_path):
    with pytest.raises(TargetError) as caught:
        taut.compress(minilm / "model.safetensors", tmp_path / "x", size="90000x")
    assert caught.value.best is not None
    assert list(tmp_path.iterdir()) == []


def test_5_nan_is_named_when_a_size_is_asked_for(tmp_path, rng):
    array = rng.standard_normal((100, 100)).astype(np.float32)
    array[2, 3] = np.nan
    with pytest.raises(ArgumentError, match=r'"head" has the value nan at \[2, 3\]'):
        taut.compress({"head": array}, tmp_path / "x", bits=3)
