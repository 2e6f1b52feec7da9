"""A calibrated run that broke off goes on where it was, to the very same bytes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.thorough import sample

import taut
from taut.analysis import collect
from taut.calibration import code_identity
from taut.calibration.findings import Findings, rounded_arrays, rounded_from
from taut.errors import ArgumentError
from taut.journal.journal import Journal, journal_folder
from taut.transform import factor_forms, round_matrix

torch = pytest.importorskip("torch")

spec = importlib.util.spec_from_file_location("nets", Path(__file__).with_name("conftest.py"))
nets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nets)

WORDS = {"max_drop": 1.0, "seed": 3}


def stages(into: list[str]):
    """Progress that notes each stage once for each time it begins."""

    def step(stage: str, done: int, total: int) -> None:
        if not into or into[-1] != stage:
            into.append(stage)

    return step


@pytest.fixture
def whole(net, batches, score, tmp_path):
    """The bytes of a run that nothing disturbed, and how many scores it took."""
    taut.compress(net, tmp_path / "whole", calib=batches, score=score, **WORDS)
    calls, score.calls = score.calls, 0
    return (tmp_path / "whole").read_bytes(), calls


@pytest.mark.slow("searches a score twice")
def test_a_score_that_fails_costs_nothing_that_was_done(net, batches, score, whole, tmp_path):
    wanted, calls = whole
    dst = tmp_path / "x"
    for number in (1, calls):
        score.calls, score.fail_at = 0, number
        with pytest.raises(ArgumentError, match="the power went"):
            taut.compress(net, dst, calib=batches, score=score, **WORDS)
        assert not dst.exists() and journal_folder(dst).is_dir()
        seen: list[str] = []
        score.calls, score.fail_at = 0, 0
        result = taut.compress(
            net, dst, calib=batches, score=score, resume=True, progress=stages(seen), **WORDS
        )
        assert dst.read_bytes() == wanted
        assert score.calls == calls - number + 1
        assert len(result.tries) == calls - 1
        assert ("curvature" in seen) == (number == 1)  # the original is scored before it
        assert seen.count("finish") <= (2 if number < calls else 0)
        assert not journal_folder(dst).exists()
        dst.unlink()


KILLED = """
import importlib.util, os, signal, sys
spec = importlib.util.spec_from_file_location("nets", sys.argv[1])
nets = importlib.util.module_from_spec(spec)
spec.loader.exec_module(nets)
import taut

at, begun, before = int(sys.argv[3]), 0, ""

def step(stage, done, total):
    global begun, before
    begun, before = begun + (stage != before), stage
    if begun == at:
        os.kill(os.getpid(), signal.SIGKILL)

taut.compress(
    nets.network(), sys.argv[2], calib=nets.inputs(), bits=3, progress=step
)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The bytes of the run that is killed below, and its stages in their order."""
    net, batches = nets.network(), nets.inputs()
    path, seen = tmp_path_factory.mktemp("whole") / "x", list[str]()
    taut.compress(net, path, calib=batches, bits=3, progress=stages(seen))
    return path.read_bytes(), seen


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no killing here")
@pytest.mark.parametrize(
    "stage",
    sample(
        ["quantize", "curvature", "lambda", "finish", "encode"],
        "a process that loads PyTorch for each stage",
        keep=0,
    ),
)
def test_a_killed_run_goes_on_to_the_same_bytes(net, batches, undisturbed, tmp_path, stage):
    wanted, seen = undisturbed
    at = seen.index(stage) + 1
    file = Path(__file__).with_name("conftest.py")
    command = [sys.executable, "-c", KILLED, str(file), str(tmp_path / "x"), str(at)]
    path = os.pathsep.join(sys.path)
    killed = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, check=False)
    assert killed.returncode == -signal.SIGKILL
    again: list[str] = []
    taut.compress(net, tmp_path / "x", calib=batches, bits=3, resume=True, progress=stages(again))
    assert (tmp_path / "x").read_bytes() == wanted
    assert ("curvature" in again) == (stage == "curvature")
    assert ("finish" in again) == (stage != "encode")
    assert [p.name for p in tmp_path.iterdir() if not p.name.endswith(".tmp")] == ["x"]


def broken_off(net, batches, score, dst) -> None:
    score.fail_at = 2
    with pytest.raises(ArgumentError, match="the power went"):
        taut.compress(net, dst, calib=batches, score=score, **WORDS)
    score.fail_at = 0


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"seed": 4}, r"another seed \(3 then, 4 now\)"),
        ({"max_drop": 2.0}, "another target"),
        ({"plan": {"0.bias": "keep"}}, "another plan"),
        ({"finish": False}, "another finish"),
        ({"calib": [torch.ones(4, 64)] * 3}, "another calibration"),
        ({"loss": lambda output, _: output.square().sum()}, "another loss"),
    ],
)
def test_only_the_same_work_goes_on(net, batches, score, tmp_path, other, told):
    dst = tmp_path / "x"
    broken_off(net, batches, score, dst)
    words = {"calib": batches, "score": score, **WORDS, **other}
    with pytest.raises(ArgumentError, match=told):
        taut.compress(net, dst, resume=True, **words)
    assert not dst.exists()


def test_another_version_is_other_work(net, batches, score, tmp_path, monkeypatch):
    broken_off(net, batches, score, tmp_path / "x")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "taut" and "__version__" in vars(module):
            monkeypatch.setattr(module, "__version__", "0.0.0")
    with pytest.raises(ArgumentError, match="another version"):
        taut.compress(net, tmp_path / "x", calib=batches, score=score, resume=True, **WORDS)
    assert not (tmp_path / "x").exists()


def test_another_model_is_other_work(net, batches, score, tmp_path):
    broken_off(net, batches, score, tmp_path / "x")
    with torch.no_grad():
        net[0].bias += 1e-3
    with pytest.raises(ArgumentError, match="another model"):
        taut.compress(net, tmp_path / "x", calib=batches, score=score, resume=True, **WORDS)


def test_another_score_goes_on_with_scores_of_its_own(net, batches, score, tmp_path):
    broken_off(net, batches, score, tmp_path / "x")
    asked = []

    def other(module: torch.nn.Module) -> float:
        asked.append(score(module))
        return asked[-1]

    seen: list[str] = []
    result = taut.compress(
        net, tmp_path / "x", calib=batches, score=other, resume=True, progress=stages(seen),
        **WORDS,
    )  # fmt: skip
    assert "curvature" not in seen
    assert asked == [result.original_score, *(one.score for one in result.tries)]


def test_without_resume_a_run_starts_afresh(net, batches, score, tmp_path):
    broken_off(net, batches, score, tmp_path / "x")
    seen: list[str] = []
    taut.compress(net, tmp_path / "x", calib=batches, bits=3, progress=stages(seen))
    assert seen[:2] == ["open", "curvature"]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 20),
    dial=st.sampled_from([0.003, 0.3, 5.0]),
    trellis=st.booleans(),
    flat=st.booleans(),
    seed=st.integers(0, 1 << 30),
)
def test_a_matrix_from_the_journal_is_the_one_that_was_kept(
    rows, columns, dial, trellis, flat, seed
):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((rows, columns)).astype(np.float32)
    sides = (np.ones(n) if flat else 4.0 ** rng.uniform(-2, 2, n) for n in (rows, columns))
    rounded = round_matrix(values, factor_forms(*sides), dial, trellis=trellis)
    found = rounded_from(rounded_arrays(rounded))
    for field in fields(rounded):
        kept, given = getattr(found, field.name), getattr(rounded, field.name)
        if isinstance(given, np.ndarray):
            assert kept.dtype == given.dtype
            np.testing.assert_array_equal(kept.view("u1"), given.view("u1"))
        else:
            assert kept == given


def test_offsets_are_decoded_as_the_file_does(rng):
    from taut.coding import Job, decode, encode_matrix

    indices = rng.integers(-4, 5, (9, 14)).astype(np.int32)
    values = rng.standard_normal((9, 14)).astype(np.float32)
    rounded = round_matrix(values, factor_forms(np.ones(9), np.ones(14)), 0.5)
    rounded = replace(rounded, indices=indices, offsets=(0.125, 0.0625, -0.03125))
    coded = encode_matrix(
        indices, step=rounded.step, offsets=rounded.offsets, trellis=True, dtype=np.dtype("f4")
    )
    out = np.empty_like(values)
    decode([Job(coded.header, coded.chunks, out)], threads=1)
    np.testing.assert_array_equal(rounded_from(rounded_arrays(rounded)).decoded, out)


def test_indices_take_the_smallest_integers_that_hold_them(rng):
    values = rng.standard_normal((8, 8)).astype(np.float32)
    metric = factor_forms(np.ones(8), np.ones(8))
    kinds = [
        rounded_arrays(round_matrix(values, metric, dial))["indices"].dtype.name
        for dial in (0.5, 0.002, 0.00001)
    ]
    assert kinds == ["int8", "int16", "int32"]


def test_curvature_from_the_journal_is_the_one_that_was_kept(net, batches, tmp_path):
    found = collect(net, lambda: batches)
    with Journal.open(tmp_path / "x", {"model": "1"}, resume=True) as journal:
        Findings(journal).curvatures(found, lambda _: found)
        kept = Findings(journal).curvatures(found, lambda _: pytest.fail("made again"))
    assert kept.keys() == found.keys()
    for name, one in found.items():
        for field in fields(one):
            np.testing.assert_array_equal(getattr(kept[name], field.name), getattr(one, field.name))


def test_a_function_is_known_by_its_name_and_code():
    def scores(factor: int):
        return [lambda net: 2 * net, lambda net: 3 * net, lambda net: factor * net]

    assert len({code_identity(one) for one in scores(1)}) == 3
    assert code_identity(scores(1)[0]) == code_identity(scores(2)[0])
    assert code_identity(None) == "none"
