"""Promises 2, 3 and 4 where a model is run to be compressed; small networks, and a real one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import textwrap
from inspect import unwrap

import pytest

import taut
from taut.errors import TargetError

BUILD = """
    import torch

    def model():
        torch.manual_seed(0)
        layers = torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 96)
        return torch.nn.Sequential(*layers)

    original = model()

    def batches():
        generator = torch.Generator().manual_seed(1)
        return [torch.randn(16, 64, generator=generator) for _ in range(6)]

    asked = []

    def score(net):
        asked.append(net)
        far = sum((net(x) - original(x)).square().mean() for x in batches())
        return 100 - 100 * float(far.detach())
"""


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(BUILD))
    return path


@pytest.fixture
def score(build):
    from taut.networks import load_callable

    return load_callable(f"{build}:score")


def test_2_a_drop_is_kept_by_what_was_written(build, score, tmp_path):
    from taut.networks import load_callable

    result = taut.compress(
        f"{build}:model", tmp_path / "x", calib=f"{build}:batches", score=score, max_drop="1%"
    )
    assert len(unwrap(score).__globals__["asked"]) <= 12
    net = load_callable(f"{build}:model")()
    taut.load(tmp_path / "x", into=net)
    assert score(net) == result.score >= 99
    assert result.ratio > 5


def test_2_a_target_out_of_reach_gives_the_best_and_writes_nothing(build, score, tmp_path):
    words = {"calib": f"{build}:batches", "score": score}
    for asked in ({"max_drop": 0.0}, {"size": "5000x"}):
        with pytest.raises(TargetError) as caught:
            taut.compress(f"{build}:model", tmp_path / "x", **asked, **words)
        assert caught.value.best is not None
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["build.py"]


MEMORY = """
import json, sys
import taut
from taut.encoding.estimate import estimate_memory
from taut.io import open_source

told = estimate_memory(open_source(sys.argv[1]), calibrated=True)
texts = [f"number {n} is followed by {n + 1} and not by {n * n}" for n in range(32)]
result = taut.compress(sys.argv[1], sys.argv[2], calib=texts, bits=3, finish=False)
print(json.dumps([told, result.peak_memory, result.bits]))
"""


@pytest.fixture
def short_encoder(minilm, tmp_path):
    """The real encoder's folder with one of its six layers, and all of its vocabulary."""
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "short"
    shutil.copytree(minilm, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 1}))
    kept = re.compile(r"(?!.*layer\.[1-9]\.)")
    tensors = load_file(minilm / "model.safetensors")
    tensors = {name: one for name, one in tensors.items() if kept.match(name)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.slow("calibrates a real encoder's vocabulary in a process of its own")
def test_3_peak_memory_of_a_real_encoder_is_told_before(short_encoder, tmp_path):
    arguments = [sys.executable, "-W", "ignore", "-c", MEMORY, str(short_encoder)]
    told, peak, bits = json.loads(
        subprocess.check_output([*arguments, str(tmp_path / "x")]).splitlines()[-1]
    )
    assert peak < told < 3 * peak
    assert peak < 4e9
    assert 0.99 * 3 <= bits <= 3


def test_4_long_work_tells_how_far_it_is_and_goes_on_after_a_crash(build, score, tmp_path):
    words = {"calib": f"{build}:batches", "score": score, "bits": 3}
    steps: list[tuple[str, int, int]] = []
    taut.compress(
        f"{build}:model", tmp_path / "x", progress=lambda *step: steps.append(step), **words
    )
    stages = {stage for stage, _, _ in steps}
    assert {"curvature", "quantize", "finish", "encode", "verify"} <= stages
    assert all(0 <= done <= total for _, done, total in steps)

    def crash(stage: str, done: int, total: int) -> None:
        if stage == "finish":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taut.compress(f"{build}:model", tmp_path / "y", progress=crash, **words)
    again: list[str] = []
    taut.compress(
        f"{build}:model", tmp_path / "y", resume=True,
        progress=lambda stage, *_: again.append(stage), **words,
    )  # fmt: skip
    assert "curvature" not in again
    assert (tmp_path / "y").read_bytes() == (tmp_path / "x").read_bytes()
    left = [path.name for path in tmp_path.iterdir() if not re.match("__pycache__", path.name)]
    assert sorted(left) == ["build.py", "x", "y"]
