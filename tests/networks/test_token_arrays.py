"""Arrays of tokens: rows that are cut, windows as they are, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.networks import LoadedModel, TextData, open_calibration, open_model

torch = pytest.importorskip("torch")


@pytest.fixture
def lm(lm_folder: Path) -> LoadedModel:
    """A causal language model of 96 positions and 16 tokens."""
    return open_model(lm_folder)


def ids(batches: object) -> np.ndarray:
    return np.concatenate([batch["input_ids"].numpy() for batch in batches])  # type: ignore[attr-defined]


def _npy(path: Path, array: np.ndarray) -> Path:
    np.save(path.with_suffix(".npy"), array)
    return path.with_suffix(".npy")


def _npz(path: Path, array: np.ndarray) -> Path:
    np.savez(path.with_suffix(".npz"), tokens=array)
    return path.with_suffix(".npz")


def _pt(path: Path, array: np.ndarray) -> Path:
    torch.save(torch.from_numpy(array), path.with_suffix(".pt"))
    return path.with_suffix(".pt")


SAVED = pytest.mark.parametrize("save", [_npy, _npz, _pt])


@SAVED
def test_a_row_is_cut_into_windows(
    lm: LoadedModel, tmp_path: Path, save: Callable[[Path, np.ndarray], Path]
) -> None:
    row = (np.arange(200) % 16).astype(np.int32)
    found = open_calibration(f"{save(tmp_path / 'x', row)},length=64", lm)
    assert np.array_equal(ids(found).ravel(), row[:192])
    assert "200 tokens are 3 windows of 64; the last 8 do not fill one" in found.notes[0]


@SAVED
def test_windows_stay_as_they_are(
    lm: LoadedModel, tmp_path: Path, save: Callable[[Path, np.ndarray], Path]
) -> None:
    windows = (np.arange(60).reshape(5, 12) % 16).astype(np.int64)
    found = open_calibration(save(tmp_path / "x", windows), lm)
    assert found.samples == 5
    assert np.array_equal(ids(found), windows)


@pytest.mark.parametrize("dtype", ["uint16", "int8", "uint64"])
def test_tokens_of_any_width_and_from_memory(lm: LoadedModel, dtype: str) -> None:
    row = (np.arange(96) % 16).astype(dtype)
    assert ids(open_calibration(row, lm)).dtype == np.int64
    assert np.array_equal(ids(open_calibration(torch.from_numpy(row), lm))[0], row)
    halves = open_calibration(TextData(row, length=48), lm)
    assert halves.samples == 2


def test_a_network_of_ones_own_takes_a_row_in_windows(tmp_path: Path) -> None:
    net = open_model(torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2)))
    path = _npy(tmp_path / "x", np.arange(36) % 9)
    found = open_calibration(f"{path},length=12", net)
    assert [tuple(batch.shape) for batch in found] == [(3, 12)]  # type: ignore[attr-defined]


def test_a_bare_array_of_samples(tmp_path: Path) -> None:
    net = open_model(torch.nn.Linear(3, 2))
    found = open_calibration(_npy(tmp_path / "x", np.ones((5, 3))), net, batch_size=4)
    assert [tuple(batch.shape) for batch in found] == [(4, 3), (1, 3)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("array", "options", "message"),
    [
        (np.array([[3, 4], [5, 16]]), "", "token 16 at (1, 1) is not of the network's vocabulary, "
                                          "which has 0 to 15"),
        (np.array([3, -1, 4]), "", "token -1 at (0, 1) is not of"),
        (np.ones(1, int), "", "has 1 tokens; a window wants two at least"),
        (np.ones((0, 8), int), "", "has no tokens (its shape is (0, 8))"),
        (np.ones((2, 97), int), "", "windows of 97 tokens; the network takes at most 96"),
        (np.ones((2, 8), int), ",length=4", "has windows of 8 tokens, and length=4"),
        (np.ones((2, 8)), ",length=4", "length: is of texts and tokens"),
    ],
)  # fmt: skip
def test_mistakes_are_named(
    lm: LoadedModel, tmp_path: Path, array: np.ndarray, options: str, message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        open_calibration(f"{_npy(tmp_path / 'x', array)}{options}", lm)
    assert message in str(caught.value)


def test_files_that_are_no_arrays(lm: LoadedModel, tmp_path: Path) -> None:
    ragged = np.array([[1, 2], [3]], object)
    np.save(tmp_path / "a.npy", ragged, allow_pickle=True)
    with pytest.raises(ArgumentError, match=r"a\.npy: holds Python objects, as rows of different"):
        open_calibration(tmp_path / "a.npy", lm)
    (tmp_path / "b.npy").write_bytes(b"1, 2, 3")
    with pytest.raises(ArgumentError, match=r"b\.npy: is no array of numpy"):
        open_calibration(tmp_path / "b.npy", lm)
    (tmp_path / "c.pt").write_bytes(b"")
    with pytest.raises(ArgumentError, match=r"c\.pt: cannot be read as tensors"):
        open_calibration(tmp_path / "c.pt", lm)
    torch.save([torch.ones(2)], tmp_path / "d.pt")
    with pytest.raises(ArgumentError, match=r"d\.pt: holds a list; save one tensor"):
        open_calibration(tmp_path / "d.pt", lm)
    with pytest.raises(ArgumentError, match=r"no such file; nearest: a\.npy"):
        open_calibration(tmp_path / "aa.npy", lm)
