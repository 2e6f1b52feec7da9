"""What is drawn, checked in the figures and tables themselves."""

from dataclasses import replace
from math import inf, nan

import matplotlib
import numpy as np
import pytest

from taut.reporting._canvas import WIDTH, abbreviate, shorten, width_of
from taut.reporting._rows import Column, rows
from taut.reporting.charts import SECTIONS, charts_of
from taut.reporting.charts_values import histogram
from taut.reporting.layer_rows import MOST
from taut.reporting.story import Story, TensorCost
from taut.scoring.results import Metric, Scores


def chart(story, key):
    (found,) = (one for one in charts_of(story) if one.key == key)
    return found


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def bars(axes):
    return [patch.get_width() for patch in axes.patches]


def tensor(name, before, after, error=0.01):
    return TensorCost(name, (before // 4, 1), "rd", before, after, 8 * after / (before // 4), error)


def test_every_part_of_a_story_has_its_chart(story):
    keys = [found.key for found in charts_of(story)]
    assert keys == [
        *("confusion", "classes", "frontier", "map", "bytes", "bits", "fidelity"),
        *("errors", "sensitivity", "values-1", "values-2"),
    ]
    assert {found.section for found in charts_of(story)} == set(SECTIONS)


def test_an_empty_story_has_no_chart():
    assert charts_of(Story()) == ()


def test_bars_are_as_long_as_the_bytes_of_each_layer():
    given = (("a.weight", 4000, 100), ("a.bias", 400, 40), ("b.weight", 8000, 70))
    found = chart(Story(tensors=tuple(tensor(*one) for one in given)), "bytes")
    before, after = found.draw().axes
    assert bars(before) == [4400, 8000]
    assert bars(after) == [140, 70]
    assert found.table.rows[0] == ("a", "4.40 kB", "140 B", "31.4×", "66.7 %")
    assert found.about.startswith("12.4 kB before, 210 B after")
    assert (
        "a takes the most, 66.7 %"
        in chart(Story(tensors=tuple(tensor(*one) for one in given)), "map").about
    )


def test_layers_that_are_alike_are_one_row_and_no_byte_is_lost():
    tensors = tuple(
        tensor(f"encoder.{n}.{k}.weight", 4000 * (1 + k), 100 + n)
        for n in range(50)
        for k in range(3)
    )
    found = chart(Story(tensors=tensors), "bytes")
    before, after = found.draw().axes
    assert len(found.table.rows) == len(bars(before)) == 3
    assert "encoder.{0..49}.0.weight" in texts(found.draw())
    assert sum(bars(before)) == sum(one.before for one in tensors)
    assert sum(bars(after)) == sum(one.bytes for one in tensors)


def test_what_is_slight_is_one_row():
    names = ("alpha", "beta", "gamma", "delta", "big")
    sizes = (4, 4, 4, 4, 40_000)
    tensors = tuple(tensor(f"{n}.weight", s, s) for n, s in zip(names, sizes, strict=True))
    assert "the rest (4)" in texts(chart(Story(tensors=tensors), "bytes").draw())


def test_the_worst_layers_are_drawn_and_all_are_in_the_table():
    tensors = tuple(tensor(f"layer.{n}.weight", 4000, 9, 0.001 * (1 + n)) for n in range(MOST + 9))
    found = chart(Story(tensors=tensors), "errors")
    assert f"the worst {MOST} of {MOST + 9} layers" in found.about
    assert len(found.table.rows) == MOST + 9


def test_one_layer_alone_is_never_the_rest():
    tensors = tuple(tensor(f"layer.{n}.weight", 4000 + 4 * n, 100) for n in range(MOST + 1))
    assert not any(
        "the rest" in text for text in texts(chart(Story(tensors=tensors), "bytes").draw())
    )


def test_errors_are_on_a_logarithmic_axis_and_exact_layers_are_left_out():
    tensors = (
        tensor("a.weight", 4000, 9, 1e-4),
        tensor("b.weight", 4000, 9, 1e-2),
        tensor("c.weight", 400, 9, 0),
    )
    found = chart(Story(tensors=tensors), "errors")
    (axes,) = found.draw().axes
    dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([-4, -2])
    assert [row[0] for row in found.table.rows] == ["a.weight", "b.weight"]


def test_levels_are_those_that_were_left():
    values = np.repeat(np.array([-0.5, 0, 0.25], np.float32), [10, 70, 20])
    found = histogram("w", None, values)
    assert found.levels == (-0.5, 0.0, 0.25)
    assert found.weights == pytest.approx((0.1, 0.7, 0.2))
    assert sum(found.after) == pytest.approx(1)


def test_values_that_are_not_finite_are_no_values():
    found = histogram("w", np.array([1.0, np.nan, np.inf]), np.array([1.0, -1.0, np.nan]))
    assert sum(found.before) == pytest.approx(1)
    assert found.levels == (-1.0, 1.0)
    assert histogram("w", None, np.array([np.nan])).levels == ()


def test_more_values_than_levels_can_be_are_a_curve_and_the_chart_says_why(rng):
    found = histogram("w", None, rng.standard_normal(5000))
    assert (found.levels, sum(found.after)) == ((), pytest.approx(1, abs=2e-3))
    story = Story(histograms=(found,))
    assert "no levels are drawn" in chart(story, "values-1").about


def test_levels_stand_as_high_as_what_they_replace(rng):
    """A level's bar and the histogram under it are both densities, so that they can be compared."""
    before = rng.uniform(-1, 1, 40_000)
    figure = chart(
        Story(histograms=(histogram("w", before, np.round(before * 4) / 4),)), "values-1"
    ).draw()
    (axes,) = figure.axes
    heights = [patch.get_height() for patch in axes.patches if hasattr(patch, "get_height")]
    inner = sorted(heights)[2:]  # the outermost levels have half a cell
    assert inner == pytest.approx([0.5] * len(inner), rel=0.05)
    assert len(heights) == 9


def test_confusion_of_many_classes_is_told_by_its_worst_pairs(story):
    cells = tuple(
        tuple(50 if a == b else int((a, b) == (3, 7)) * 9 for b in range(30)) for a in range(30)
    )
    scores = Scores((Metric("accuracy", 0.99),), 1509, (), cells)
    model = replace(story.evaluation.model, scores=scores)
    found = chart(replace(story, evaluation=replace(story.evaluation, model=model)), "confusion")
    assert "3 → 7" in texts(found.draw())
    assert (
        found.about == "1,500 of 1,509 samples are right. Most often, 3 is taken for 7 (9 times)."
    )


def test_the_frontier_rings_the_chosen_point_and_joins_the_ones_worth_having(story):
    (axes,) = chart(story, "frontier").draw().axes
    line = axes.lines[0]
    assert list(line.get_xdata()) == [15_000, 23_000, 30_000]
    cross, ring = axes.lines[-2:]
    assert (cross.get_marker(), cross.get_xdata()[0]) == ("+", 23_000)
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (23_000, 0.88)
    written = texts(axes.figure)
    assert {"2 bits", "3 bits: chosen, knee", "int4:g64", "original"} <= set(written)


def test_what_may_be_lost_is_a_line_and_the_smallest_file_above_it_is_chosen(story):
    asked = replace(story, chosen=None, max_drop="0.05")
    found = chart(asked, "frontier")
    (axes,) = found.draw().axes
    (level,) = [one.get_ydata() for one in axes.lines if one.get_linestyle() == "--"]
    assert list(level) == pytest.approx([0.85, 0.85])
    assert "The ring is 3 bits" in found.about and "may fall: 0.05" in found.about
    none = chart(replace(asked, max_drop="0"), "frontier")
    assert "The ring is 4 bits" in none.about
    marks = [row[0].partition("\n")[2] for row in found.table.rows]
    assert marks == ["worth having", "chosen, knee, worth having", "worth having", "", ""]


def test_numbers_that_are_none_are_told_and_drawn_nowhere(story):
    fidelity = story.evaluation.fidelity
    layers = (replace(fidelity.layers[0], rel_mse=inf, own_rel_mse=nan), *fidelity.layers[1:])
    evaluation = replace(story.evaluation, fidelity=replace(fidelity, layers=layers))
    lost = replace(story.frontier.points[0], metrics=(Metric("accuracy", nan),))
    frontier = replace(story.frontier, points=(lost, *story.frontier.points[1:]))
    odd = replace(story, evaluation=evaluation, frontier=frontier)
    added, whole = chart(odd, "fidelity").draw().axes
    for axes in (added, whole):
        dots = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
        assert len(dots) == len(layers) - 1 and np.isfinite(dots).all()
    assert "infinite" in texts(whole.figure) and "not a number" in texts(whole.figure)
    (axes,) = chart(odd, "frontier").draw().axes
    assert list(axes.lines[0].get_xdata()) == [23_000, 30_000]


def test_names_fit_their_column_and_stay_apart():
    names = [
        f"model.encoder.layers.{n}.self_attention.out_proj_{k}" for n in range(12) for k in "qkv"
    ]
    short = abbreviate(names, 132)
    assert max(map(width_of, short)) <= 132
    assert len(set(short)) == len(names)
    assert abbreviate(["fc1", "fc2"], 132) == ["fc1", "fc2"]
    assert shorten("x" * 4000, 100).startswith("…x")


def test_texts_stay_inside_the_figure():
    """What matplotlib measures in its own, wide font; pages have narrower ones."""
    names = ["a.very_long_name_indeed.of.a.layer" * 3, "b"]
    figure = rows(names, [Column("t", [1.0, 2.0], ["1.00 MB", "2.00 MB"], "#000000")] * 2)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    for axes in figure.axes:
        for text in axes.texts:
            box = text.get_window_extent(renderer)
            assert box.x0 >= 0 and box.x1 <= WIDTH, text.get_text()


def test_drawing_leaves_the_settings_of_matplotlib_alone(story):
    before = dict(matplotlib.rcParams)
    from taut.reporting.page import page

    page(story)
    assert dict(matplotlib.rcParams) == before
