"""The guide's pictures: charts that say what they are given, in both languages."""

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from bench.guide import drawing, pictures
from bench.guide.words import CHINESE

DOCS = Path(__file__).parents[3] / "docs"


def said(source: str) -> set[str]:
    """The texts that pictures.py translates: what it calls `say` with, and the keys of names."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    found = {node.args[0] for node in calls if getattr(node.func, "id", "") == "say"}
    return {node.value for node in found if isinstance(node, ast.Constant)}


def test_every_text_has_its_chinese():
    words = said(Path(pictures.__file__).read_text(encoding="utf-8"))
    assert len(words) > 20
    assert words <= set(CHINESE)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_are_there_in_both_languages_and_small(name):
    english, chinese = (DOCS / folder / f"{name}.svg" for folder in ("guide", "zh"))
    for file in (english, chinese):
        root = ElementTree.fromstring(file.read_text(encoding="utf-8"))
        assert root.get("role") == "img"
        assert root.get("aria-label")
        assert file.stat().st_size < 32_000
        assert "prefers-color-scheme: dark" in file.read_text(encoding="utf-8")
    marks = [
        re.findall(r'(?: d="[^"]+"| width="[\d.]+")', file.read_text(encoding="utf-8"))
        for file in (english, chinese)
    ]
    assert marks[0] == marks[1]  # the same values, drawn once


def test_a_line_goes_through_its_points():
    made = drawing.chart("t", {"a & b": [(0, 0), (2, 50), (4, 100)]}, "x", "y")
    assert "a &amp; b" in made
    dots = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', made)]
    assert dots[1] == pytest.approx(np.mean([dots[0], dots[2]], axis=0), abs=0.1)
    assert dots[0][1] > dots[2][1]  # up is more


def test_bars_are_as_long_as_their_values():
    made = drawing.bars("t", {"one": {"": 1000}, "two": {"": 250}}, "bytes")
    wide = [float(one) for one in re.findall(r'<rect class="f0"[^>]* width="([\d.]+)"', made)]
    assert wide[0] == 4 * wide[1]
    assert ">1,000<" in made


@pytest.mark.parametrize(
    ("value", "told"), [(0, "0"), (1e-7, "< 0.1"), (89.83, "89.8"), (65536, "65,536")]
)
def test_numbers_are_told_as_people_write_them(value, told):
    assert drawing.number(value) == told
