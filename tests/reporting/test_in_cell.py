"""Results show themselves: three lines in a prompt, the page's charts in a notebook."""

import io
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

import taut
from taut.scoring.results import Evaluation, Metric, Scores, Subject

EVIL = "h.<script>alert(1)</script>\u202e\n"


@pytest.fixture(scope="module")
def results():
    rng = np.random.default_rng(0)
    weights = {f"{EVIL}.{i}": rng.normal(size=(64, 64)).astype("f4") for i in range(3)}
    packed = io.BytesIO()
    result = taut.compress(weights, packed, bits=4)
    scores = [
        Scores((Metric(f"acc{EVIL}", value, value - 1, value + 1),)) for value in (87.2, 87.4)
    ]
    evaluation = Evaluation(
        model=Subject(EVIL, 1000, 4096, scores[0]),
        original=Subject("old", 8000, 4096, scores[1]),
        notes=(EVIL,),
    )
    return {
        "result": result,
        "info": taut.info(packed),
        "evaluation": evaluation,
        "frontier": taut.frontier(weights, bits=[2, 4], schemes=[]),
        "report": taut.analyze(weights),
        "differences": taut.diff(packed, weights),
        "verified": taut.verify(packed),
        "restored": taut.decompress(packed, io.BytesIO()),
    }


NAMES = ("result", "info", "evaluation", "frontier", "report", "differences")


@pytest.mark.parametrize("name", [*NAMES, "verified", "restored"])
def test_a_prompt_shows_three_lines(results, name):
    lines = repr(results[name]).split("\n")
    assert 1 <= len(lines) <= 3
    assert all(0 < len(line) <= 160 and line.isprintable() for line in lines)


def test_the_lines_say_what_became_of_it(results):
    first, second, third = repr(results["result"]).split("\n")
    assert first.startswith("<BytesIO>: ") and first.endswith("x smaller, 4.00 bits a parameter")
    assert second == "3 tensors, 12.3 k parameters: 3 rd"
    assert "peak memory" in third
    assert "old" not in repr(results["evaluation"]) and "87.20" in repr(results["evaluation"])
    assert repr(results["frontier"]).split("\n")[1] == "worth having: 2 bits, 4 bits"


@pytest.mark.parametrize("name", NAMES)
def test_a_cell_is_whole_escaped_and_has_no_script(results, name):
    html = results[name]._repr_html_()
    assert (
        "<script" not in html
        and "\u202e" not in html
        and "href=" not in html.lower().replace('href="#', "")
    )
    balance = Balance()
    balance.feed(html)
    assert balance.open == []
    assert ("<svg" in html) == ((name in NAMES[:4] and name != "evaluation") or "<svg" in html)


@pytest.mark.parametrize("name", ["result", "info", "frontier"])
def test_a_cell_has_the_charts_of_the_page(results, name):
    assert results[name]._repr_html_().count("<svg") >= 1


def test_ids_of_two_cells_do_not_meet(results):
    cells = [results[name]._repr_html_() for name in ("result", "frontier")]
    first, second = (set(re.findall(r'\bid="([^"]+)"', html)) for html in cells)
    assert first and second and not first & second


def test_words_are_enough_for_what_has_no_numbers_to_draw(results):
    assert results["verified"]._repr_html_() is None


def test_without_the_extra_there_are_numbers_and_what_to_install(results, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    html = results["info"]._repr_html_()
    assert "pip install &#x27;taut[report]&#x27;" in html and "every tensor" in html


class Balance(HTMLParser):
    """Which tags are open."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
