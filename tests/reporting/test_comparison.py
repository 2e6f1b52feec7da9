"""Two files of one model on a page: which is smaller, what a score says, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError
from taut.reporting.comparison import compare_files
from taut.reporting.comparison_page import comparison_page, write_comparison
from taut.reporting.comparison_verdict import comparison_verdict
from taut.reporting.made import PageFacts
from taut.scoring.results import Evaluation, Metric, Paired, Scores, Subject


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A model at three bits and at five."""
    folder = tmp_path_factory.mktemp("pair")
    rng = np.random.default_rng(0)
    model = {
        f"encoder.{n}.<b>.weight": rng.standard_normal((64, 48)).astype(np.float32)
        for n in range(3)
    }
    paths = [folder / f"net-{bits}.taut.safetensors" for bits in (3, 5)]
    for path, bits in zip(paths, (3.0, 5.0), strict=True):
        taut.compress(model, path, bits=bits)
    return paths


def judged(path, value, low, high, original=None, paired=()):
    def subject(size, value, *bounds):
        scores = Scores((Metric("accuracy", value, *bounds),), 500)
        return Subject("net", size, 9, scores)

    old = subject(original.stat().st_size, 0.9) if original else None
    return Evaluation(subject(path.stat().st_size, value, low, high), old, paired)


def test_the_page_says_which_is_smaller_and_escapes_names(pair, tmp_path):
    found = compare_files(*pair)
    ratio = pair[1].stat().st_size / pair[0].stat().st_size
    verdict = comparison_verdict(found)
    assert verdict.headline.startswith(
        f"net-5 is {ratio:.2f}× larger than net-3; its weights' errors"
    )
    assert "smaller" in verdict.headline and verdict.tone == "plain"
    text = comparison_page(found, PageFacts("taut report a b", "2026-01-02 03:04 UTC"))
    assert "<b>.weight" not in text and "encoder.2.&lt;b&gt;" in text
    assert text.index("<h1>") < text.index("taut report a b") < text.index("<table")
    options = comparison_page(found, PageFacts("taut report a b --score x-y.json -f"))
    assert "<code>taut report a b <b>--score</b> x-y.json <b>-f</b></code>" in options
    assert "what differs most first</caption>" in text  # none is alike, and nothing says so
    write_comparison(tmp_path / "page.html", found)
    with pytest.raises(ArgumentError, match="exists"):
        write_comparison(tmp_path / "page.html", found)


def test_scores_that_were_had_apart_differ_only_beyond_their_intervals(pair):
    near = (judged(pair[0], 0.88, 0.85, 0.91), judged(pair[1], 0.9, 0.87, 0.93))
    verdict = comparison_verdict(compare_files(*pair, near))
    assert "accuracy 88.00 → 90.00 %, with 95 % intervals that overlap" in verdict.headline
    far = (near[0], judged(pair[1], 0.95, 0.93, 0.97))
    found = comparison_verdict(compare_files(*pair, far))
    assert (found.tone, "a gain beyond chance" in found.headline) == ("good", True)
    wrong = compare_files(*pair, (near[0], replace(near[1], model=near[0].model)))
    assert "may be of another" in wrong.notes[0]


def test_the_second_held_against_the_first_is_told_by_the_same_samples(pair):
    lost = (Paired("accuracy", -0.02, -0.03, -0.01),)
    found = compare_files(*pair, (judged(pair[1], 0.88, 0.86, 0.9, pair[0], lost),))
    verdict = comparison_verdict(found)
    assert verdict.headline.endswith("90.00 → 88.00 %, a loss of 2.00 points that 500 samples show")
    assert "88.00 %" in comparison_page(found)


def test_models_that_cannot_be_compared_are_refused_with_what_differs(pair, tmp_path):
    def small(name, tensors):
        path = tmp_path / f"{name}.taut.safetensors"
        taut.compress(tensors, path)
        return path

    a = small("a", {"w": np.zeros((4, 4), np.float32), "v": np.zeros(2, np.float32)})
    b = small("b", {"w": np.zeros((4, 5), np.float32)})
    with pytest.raises(ArgumentError, match=r'b\.taut.*tensor "w" is 4x5, and 4x4 in .*a\.taut'):
        compare_files(a, b)
    with pytest.raises(ArgumentError, match=r"has no tensor of .*net-3.*two files of one model"):
        compare_files(pair[0], a)
    with pytest.raises(ArgumentError, match="itself; give two files"):
        compare_files(a, a)
    c = small("c", {"w": np.ones((4, 4), np.float32)})
    found = compare_files(a, c)
    assert found.notes == ("Only a.taut.safetensors has v.",)
    assert "bit for bit both" in comparison_verdict(found).headline
    plain = tmp_path / "plain.safetensors"
    save_file({"w": np.zeros((4, 4), np.float32)}, plain)
    with pytest.raises(taut.errors.TautError, match="not a Taut file"):
        compare_files(a, plain)


def test_the_verb_takes_a_second_file_as_the_command_does(pair, tmp_path):
    first, second = pair
    page = taut.report(first, tmp_path / "both.html", other=second)
    text = page.read_text(encoding="utf-8")
    assert first.name in text and second.name in text and "Both files" in text
    for name, given in {"title": "x", "original": first, "plan": "edge"}.items():
        with pytest.raises(ArgumentError, match=f"{name}: is for a report on one file"):
            taut.report(first, tmp_path / "no.html", other=second, **{name: given})
    with pytest.raises(ArgumentError, match="evaluation: one file has one"):
        taut.report(first, tmp_path / "no.html", evaluation=("a.json", "b.json"))
    before = second.read_bytes()
    with pytest.raises(ArgumentError, match="is a Taut file, and no page; to compare it"):
        taut.report(first, second, force=True)
    assert second.read_bytes() == before and not (tmp_path / "no.html").exists()
