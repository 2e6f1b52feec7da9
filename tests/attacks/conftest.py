"""The files under attack, and what a reader may do with a damaged one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.errors import FormatError, VerifyError

from .forge import Forgery

REFUSAL = (FormatError, VerifyError)


@dataclass(frozen=True)
class Victim:
    """A sound file, and the tensors that it decodes to."""

    data: bytes
    tensors: dict[str, np.ndarray]


def weights(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Numbers as trained layers have them: a scale for each row."""
    return rng.standard_normal((rows, columns)) * np.exp(rng.uniform(-6, 0, (rows, 1)))


def make(path: Path, model: dict[str, np.ndarray], **options: object) -> Victim:
    taut.compress(model, path, **options)  # type: ignore[arg-type]
    return Victim(path.read_bytes(), {n: a.copy() for n, a in taut.load(path).tensors()})


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """Three kilobytes: packed solid groups, a kept tensor, an alias, an empty one, a scalar."""
    rng = np.random.default_rng(1)
    bias = weights(rng, 1, 400)[0].astype(np.float32)
    model = {
        "a.bias": bias,
        "a.copy": bias.copy(),
        "b.bias": weights(rng, 1, 200)[0].astype(ml_dtypes.bfloat16),
        "noise": np.frombuffer(rng.bytes(500), np.uint8),
        "empty": np.empty((0, 4), np.float16),
        "scalar": np.array(7, np.int64),
    }
    path = tmp_path_factory.mktemp("attacks") / "small"
    return make(path, model, plan={"noise": "keep", "a.copy": "lossless"})


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A megabyte: every coder, several chunks, sparse, integer, half-precision and tied tensors."""
    rng = np.random.default_rng(2)
    sparse = weights(rng, 90, 100) * (rng.random((90, 100)) < 0.2)
    halves = weights(rng, 60, 100).astype(np.float32)
    halves[::2] = halves[::2].astype(np.float16)
    layer = weights(rng, 540, 512).astype(ml_dtypes.bfloat16)
    model = {
        "layer.weight": layer,
        "layer.bias": weights(rng, 1, 540)[0].astype(np.float32),
        "layer.tied": layer.copy(),
        "sparse": sparse.astype(np.float32),
        "halves": halves,
        "counts": np.rint(weights(rng, 40, 64) * 3e4).astype(np.int64),
        "float16": weights(rng, 120, 100).astype(np.float16),
        "double": weights(rng, 30, 100),
        "kept": np.frombuffer(rng.bytes(40_001), np.uint8),
        "zeros": np.zeros((300, 300), np.float32),
    }
    victim = make(tmp_path_factory.mktemp("attacks") / "large", model)
    assert all(a.tobytes() == victim.tensors[n].tobytes() for n, a in model.items())
    return victim


@pytest.fixture(scope="session")
def lossy(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """A hundred kilobytes at three bits per weight, to three output dtypes, with exceptions."""
    rng = np.random.default_rng(3)
    spiky = weights(rng, 200, 256)
    spiky[::50, 0] = 400
    model = {
        "f32": spiky.astype(np.float32),
        "bf16": weights(rng, 240, 256).astype(ml_dtypes.bfloat16),
        "f16": weights(rng, 70, 256).astype(np.float16),
        "bias": weights(rng, 1, 256)[0].astype(np.float32),
    }
    return make(tmp_path_factory.mktemp("attacks") / "lossy", model, bits=3.0, effort="fast")


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Victim:
    """Two packs: a full one with an entry of its own, and one after the index."""
    rng = np.random.default_rng(4)
    sparse = weights(rng, 50 * 80, 60) * (rng.random((50 * 80, 60)) < 0.4)
    model = {f"t{k:02}": block.astype(np.float32) for k, block in enumerate(np.split(sparse, 50))}
    model["bias"] = weights(rng, 1, 80)[0].astype(np.float32)
    return make(tmp_path_factory.mktemp("attacks") / "many", model)


@pytest.fixture(scope="session")
def first(small: Victim) -> Victim:
    """The small file as version 1 of the format has it."""
    return Victim(Forgery.of(small.data).first(), small.tensors)


@pytest.fixture
def victim(request: pytest.FixtureRequest) -> Victim:
    """The victim that a test is parametrized with, by name."""
    return request.getfixturevalue(request.param)


def named(error: BaseException, path: Path) -> bool:
    """Whether an error says in which file, and of what in it, something is wrong."""
    text = str(error)
    return text.startswith(f"{path}: ") and len(text) > len(str(path)) + 10


def refused(path: Path, act: Callable[[Path], object]) -> str:
    """The message with which `act` refuses the file."""
    with pytest.raises(REFUSAL) as caught:
        act(path)
    assert named(caught.value, path), caught.value
    return str(caught.value)


def load_all(path: Path) -> object:
    return TautFile(path).load_all()


def survivors(path: Path) -> dict[str, np.ndarray]:
    """What can still be had of a damaged file, tensor by tensor; the others are refused by name."""
    try:
        file = TautFile(path)
    except REFUSAL as error:
        assert named(error, path), error
        return {}
    found = {}
    for info in file.infos:
        try:
            found[info.name] = file[info.name]
        except REFUSAL as error:
            assert named(error, path) and 'tensor "' in str(error), error
            continue
        assert found[info.name].nbytes == info.nbytes
    return found


def same(victim: Victim, found: dict[str, np.ndarray]) -> bool:
    """Whether each tensor found is what the sound file has, to the bit."""
    return all(
        a.dtype == victim.tensors[n].dtype
        and a.shape == victim.tensors[n].shape
        and a.tobytes() == victim.tensors[n].tobytes()
        for n, a in found.items()
    )
