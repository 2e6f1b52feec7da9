"""The words on top of a page: what may be called better, and what may not."""

import pytest

from taut.reporting.headline import sentence_of, tiles_of
from taut.reporting.story import Exported, Story
from taut.reporting.tables import export_table, metric_table, paired_sentences
from taut.scoring.results import Energy, Evaluation, Metric, Paired, Scores, Speed, Subject


def judged(after, before=None, paired=(), **measured):
    def subject(name, value):
        return Subject(name, 100, 400, None if value is None else Scores((value,), 50), **measured)

    return Evaluation(subject("new", after), subject("old", before), paired)


def tile(label, evaluation):
    (found,) = (one for one in tiles_of(Story(evaluation=evaluation)) if one.label == label)
    return found


def speed(p50):
    return Speed(p50, p50, 1 / p50, 1, 1, 3, 30, "numpy")


@pytest.mark.parametrize(
    ("better", "low", "high", "tone"),
    [
        ("higher", -0.03, 0.01, "plain"),  # the interval holds 0: chance may have made it
        ("higher", -0.03, -0.01, "bad"),
        ("lower", -0.03, -0.01, "good"),
    ],
)
def test_a_change_is_welcome_only_where_chance_does_not_explain_it(better, low, high, tone):
    metric = Metric("accuracy", 0.88, better=better)
    pair = Paired("accuracy", (low + high) / 2, low, high)
    found = tile("Accuracy", judged(metric, Metric("accuracy", 0.9, better=better), (pair,)))
    assert found.tone == tone
    told = f"of the change: {100 * low:+.2f} to {100 * high:+.2f} points"
    assert told.replace("-", "−") in found.note


@pytest.mark.parametrize(
    ("after", "change", "tone"),
    [
        (0.0102, "about the same", "plain"),
        (0.005, "2.00× faster", "good"),
        (0.03, "3.00× slower", "bad"),
    ],
)
def test_latencies_within_the_noise_are_the_same(after, change, tone):
    evaluation = Evaluation(
        Subject("new", 1, 1, speed=speed(after)), Subject("old", 1, 1, speed=speed(0.01))
    )
    found = tile("Latency", evaluation)
    assert (found.change, found.tone) == (change, tone)


def test_energy_that_nobody_measured_says_so():
    found = tile("Energy", judged(None, energy=Energy(None, None, "no RAPL in this container")))
    assert (found.after, found.note) == ("not measurable here", "no RAPL in this container")


def test_the_sentence_tells_only_what_is_known():
    assert sentence_of(Story()) == ""
    assert sentence_of(Story(size=2000)) == "2.00 kB."
    assert sentence_of(Story(size=2000, original_size=4000)) == ("4.00 kB became 2.00 kB.")


def test_metrics_stand_beside_those_of_the_original():
    pair = Paired("accuracy", -0.02, -0.05, 0.01, 0.9, 2, 3, 0.00001)
    table = metric_table(
        judged(Metric("accuracy", 0.88, 0.8, 0.93), Metric("accuracy", 0.9), (pair,))
    )
    assert table.rows == (
        (
            *("accuracy", "90.00 %", "88.00 %\n80.00 to 93.00 %"),
            *("−2.00 points\n−5.00 to +1.00 points", "< 0.0001"),
        ),
    )
    assert paired_sentences(judged(None, paired=(pair,)))[1] == (
        "2 samples are right now that were wrong, 3 are wrong now that were right."
    )
    assert metric_table(None) is None


def test_an_export_that_was_not_run_is_told():
    table = export_table([Exported("m.onnx", "onnx", 1000, 3, 1)])
    assert table.rows[0] == ("m.onnx", "onnx", "1.00 kB", "3", "1", "not run", "-", "-", "-")
