"""Notes that matter are not drowned: one line a kind, the worst first, all of them with -v."""

from taut.cli._notes import gathered
from taut.cli._talk import Talk

DEAD = [f"layer.{n}.w: {n + 1} of 64 outputs are always zero" for n in range(51)]


def test_a_kind_is_one_line_that_names_the_worst():
    assert gathered(DEAD) == [
        "51 tensors: 1 to 51 of 64 outputs are always zero: layer.50.w (51), layer.49.w (50), "
        "layer.48.w (49) and 48 more"
    ]


def test_the_worst_kinds_come_first_and_nothing_is_lost():
    notes = ["calibration: 8 texts were given", *DEAD[:2], "head.w: 3 NaN values"]
    assert gathered(notes) == [
        "head.w: 3 NaN values",
        "2 tensors: 1 to 2 of 64 outputs are always zero: layer.1.w (2), layer.0.w (1)",
        "calibration: 8 texts were given",
    ]
    assert gathered([*notes, *notes]) == gathered(notes)


def test_notes_that_are_alike_to_the_number_name_some():
    same = [f"a.{n}: 2 of 9 rows were never read" for n in range(5)]
    assert gathered(same) == ["5 tensors: 2 of 9 rows were never read: a.0, a.1, a.2 and 2 more"]


def test_numbers_are_compared_as_numbers():
    shown = gathered(["a: 9 rows of 10", "b: 1,000 rows of 2,000", "c: 10.5 rows of 11"])
    assert shown == ["3 tensors: 9 to 1,000 rows of 10 to 2,000: b (1,000), c (10.5), a (9)"]


def test_verbose_lists_all(capsys):
    Talk().notes(DEAD)
    assert len(capsys.readouterr().err.splitlines()) == 1
    Talk(verbose=True).notes(DEAD)
    assert len(capsys.readouterr().err.splitlines()) == 51
    kinds = [f"note of kind {'x' * n}" for n in range(9)]
    Talk().notes(kinds)
    assert (
        capsys.readouterr().err.splitlines()[-1].endswith("3 more kinds of notes, which -v shows")
    )
