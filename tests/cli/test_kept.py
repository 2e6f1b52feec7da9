"""A run that breaks off says what it kept and how to go on."""

import errno

import numpy as np
import pytest

from taut.cli._kept import saying_what_is_kept
from taut.cli._talk import Talk
from taut.errors import ArgumentError, TautError
from taut.journal import Journal


def broken(capsys, error, output=None, points=None):
    """What is said when the work breaks off by `error`."""
    with pytest.raises(type(error)), saying_what_is_kept(Talk(), output, points):
        raise error
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), MemoryError(), OSError(errno.ENOSPC, "no room"), TautError("no room")],
)
def test_pieces_of_a_journal_are_told_with_how_to_go_on(tmp_path, capsys, error):
    output = tmp_path / "small.taut.safetensors"
    with Journal.open(output, {"model": "5d41"}, resume=False) as journal:
        for number in range(3):
            journal.put(f"layer.{number}", levels=np.arange(1000))
    told = broken(capsys, error, output).splitlines()
    assert told[0].startswith("  kept       3 finished pieces, 2")
    assert told[0].endswith(f"in {output}.journal")
    assert told[1] == "  go on      with the same command and --resume"


def test_the_state_of_a_training_is_told(tmp_path, capsys):
    output = tmp_path / "small.taut.safetensors"
    (tmp_path / "small.taut.safetensors.train.npz").write_bytes(b"")
    assert "the training's state" in broken(capsys, KeyboardInterrupt(), output)


def test_where_nothing_is_kept_that_is_said(tmp_path, capsys):
    told = broken(capsys, KeyboardInterrupt(), tmp_path / "small.taut.safetensors")
    assert told.splitlines() == [
        "  kept       nothing, and nothing is half-written; the same command begins anew"
    ]


def test_what_was_asked_wrongly_has_nothing_to_go_on_from(tmp_path, capsys):
    assert broken(capsys, ArgumentError("no"), tmp_path / "x") == ""
