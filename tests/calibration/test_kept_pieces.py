"""Arrays in a journal: written once, mapped from there, and the same in the next process."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from taut.analysis import GRADIENTS, Curvature, Pieces
from taut.calibration.findings import Findings
from taut.calibration.kept_pieces import KeptPieces
from taut.journal.journal import Journal


def opened(folder: Path, *, resume: bool) -> Journal:
    return Journal.open(folder / "x", {"a": "b"}, resume=resume)


def test_an_array_is_written_once_however_many_names_it_has(tmp_path: Path) -> None:
    large = np.arange(1 << 16, dtype=np.float64).reshape(256, 256)
    odd = np.arange(3, dtype=np.uint8)
    with opened(tmp_path, resume=False) as journal:
        pieces = KeptPieces(journal)
        first = pieces.put("one", {"odd": odd, "a": large, "b": large})
        second = pieces.put("two", {"c": first["b"], "d": odd})
        files = [path.stat().st_size for path in journal.folder.glob("*.safetensors")]
    assert large.nbytes < sum(files) < 1.1 * large.nbytes
    for found in (first["a"], first["b"], second["c"]):
        np.testing.assert_array_equal(found, large)
        assert found.flags.aligned
    with opened(tmp_path, resume=True) as journal:
        again = KeptPieces(journal).get("two")
        assert again is not None
        np.testing.assert_array_equal(again["c"], large)
        np.testing.assert_array_equal(again["d"], odd)


@pytest.mark.skipif(os.name == "nt", reason="files are read there")
def test_what_comes_back_is_a_map_that_outlives_its_file(tmp_path: Path) -> None:
    with opened(tmp_path, resume=False) as journal:
        pieces = KeptPieces(journal)
        found = pieces.put("one", {"a": np.ones((64, 64), np.float32)})["a"]
        assert isinstance(found, np.memmap) and not found.flags.writeable
        pieces.forget("one")
        assert pieces.get("one") is None
        assert found.sum() == 64 * 64


def test_a_piece_that_speaks_of_a_lost_one_is_none(tmp_path: Path) -> None:
    with opened(tmp_path, resume=False) as journal:
        pieces = KeptPieces(journal)
        pieces.put("two", pieces.put("one", {"a": np.ones(8)}))
        journal.forget("one")
    with opened(tmp_path, resume=True) as journal:
        assert KeptPieces(journal).get("two") is None


def test_a_piece_that_is_put_again_is_the_new_one(tmp_path: Path) -> None:
    with opened(tmp_path, resume=False) as journal:
        pieces = KeptPieces(journal)
        pieces.put("one", {"a": np.ones(8)})
        assert pieces.put("one", {"a": np.zeros(8)})["a"].sum() == 0


def test_gradients_go_once_all_curvature_is_known(tmp_path: Path) -> None:
    def make(pieces: Pieces | None) -> dict[str, Curvature]:
        assert pieces is not None
        pieces.put(f"{GRADIENTS}0/0", {"a": np.ones(8)})
        return {}

    with opened(tmp_path, resume=False) as journal:
        Findings(journal).curvatures(["w"], make)
        assert journal.done == {"curvature"}
