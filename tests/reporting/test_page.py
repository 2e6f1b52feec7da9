"""The page as text: whole, escaped, alone, the same every time; and what is refused."""

import base64
import hashlib
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from PIL import Image

from taut.errors import ArgumentError
from taut.reporting.chart import Table
from taut.reporting.frame import document
from taut.reporting.html_table import table_html
from taut.reporting.page import page, write_charts, write_page
from taut.reporting.story import Story, TensorCost


class Outline(HTMLParser):
    """Tags, ids, and texts by the tag that holds them; what is left open."""

    VOID = ("meta", "link", "wbr", "br")

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.attributes, self.open, self.text = [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def text(story):
    return page(story)


def test_a_page_is_sound_and_says_what_is_in_the_story(text):
    found = Outline(text)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    told = " ".join("".join(found.text).split())
    for words in (
        "60.0 k parameters: 240 kB became 23.0 kB, at 3.07 bits per weight.",
        *("not measurable here", "no counter of energy here", "87.00 to 89.00 %", "−2.00 points"),
        "3 samples are right now that were wrong, 9 are wrong now that were right.",
        *("onnxruntime 1.20", "# <i>as given</i>", "The machine was busy.", "int4:g64"),
    ):
        assert words in told


def test_names_are_never_markup(text):
    found = Outline(text)
    assert found.tags.count("script") == text.count("<script>") == 1  # the page's own
    assert "<b>dog" not in text
    assert "&lt;script&gt;alert(1)&lt;/" in text
    assert "\u202e" not in text
    assert not [name for name, _ in found.attributes if name.startswith("on")]


def test_a_page_refers_to_nothing_outside_itself(text):
    assert "http" not in text.replace("http-equiv", "")
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    links = [value for name, value in Outline(text).attributes if name in ("src", "href")]
    assert all(link.startswith(("#", "data:")) for link in links)
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ")[:4] == [
        *("default-src 'none'", "style-src 'unsafe-inline'", "img-src data:"),
        f"script-src 'sha256-{digest}'",
    ]


def test_every_chart_has_a_name_a_description_and_a_table(text):
    found = Outline(text)
    charts = found.tags.count("svg")
    assert charts == 10
    named = [value.split() for name, value in found.attributes if name == "aria-labelledby"]
    assert len(named) == charts
    assert {name for pair in named for name in pair} <= set(found.ids)
    assert found.tags.count("figure") == charts + 1  # the treemap is no picture
    assert text.count("As a table") == charts - 1  # that of the trade-off is open


def test_every_table_says_what_it_is_of_and_its_labels_are_text(text):
    found = Outline(text)
    tables = found.tags.count("table")
    assert tables == found.tags.count("caption") > 12
    assert found.attributes.count(("scope", "col")) == found.tags.count("th")
    hostile = Table(("a", 'b"}</style><script>', "c", "d"), (("x", "<b>", "2", "3"),) * 2)
    markup = table_html(hostile, "t")
    assert "<script>" not in markup and "<b>" not in markup
    assert '#t td:nth-child(2){--head:"b\\22 \\7d \\3c \\2f style' in markup


def test_the_verdict_stands_first_and_says_how_the_page_was_made(story):
    told = replace(story, command="taut report a.taut.safetensors", date="2026-01-02 03:04 UTC")
    found = Outline(page(told))
    body = "".join(found.text).partition("Taut · report")[2].replace("\u00a0", " ")
    order = [
        "10.4× smaller, accuracy 90.00 → 88.00 %, a loss of 2.00 points that 300 samples show",
        *("taut report a.taut.safetensors", "2026-01-02 03:04 UTC", "Size on disk"),
        *("What would win most", "Scores, with 95 % intervals", "Layers by block"),
    ]
    places = [body.index(words) for words in order]
    assert places == sorted(places)
    assert found.tags.count("h1") == 1 and found.tags.index("h1") < found.tags.index("h2")


def test_references_of_a_chart_are_to_its_own_parts(text):
    ids = set(Outline(text).ids)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= ids
    assert set(re.findall(r'href="#([^"]+)"', text)) <= ids


def test_charts_take_their_colours_from_the_page(text):
    svgs = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert not re.findall(r"#[0-9a-f]{6}", "".join(svgs))
    assert {"var(--before)", "var(--after)", "var(--ink)"} <= set(
        re.findall(r"var\(--\w+\)", svgs[3])
    )
    assert "DejaVu" not in "".join(svgs)


def test_the_same_story_gives_the_same_bytes(story, text, tmp_path):
    assert page(story) == text
    few = replace(story, evaluation=None, histograms=(), frontier=None)
    one, two = (write_charts(tmp_path / name, few, "svg") for name in "ab")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_a_page_of_nothing_is_a_page():
    found = Outline(page(Story()))
    assert found.open == []
    assert "svg" not in found.tags


def test_hundreds_of_tensors_stay_below_a_megabyte():
    tensors = tuple(
        TensorCost(
            f"model.layers.{n}.attention.query.weight", (64, 64), "rd", 16384, 900 + n, 2, 0.01
        )
        for n in range(600)
    )
    assert len(page(Story(tensors=tensors)).encode()) < 1_000_000
    text = page(Story(tensors=tensors * 2))
    assert "and 200 more, which taut info shows" in text
    assert text.count("<figure") == 4  # blocks that are alike are one row, however many


def test_nothing_is_overwritten_unless_forced(story, tmp_path):
    out = tmp_path / "report.html"
    out.write_text("mine")
    with pytest.raises(ArgumentError, match="exists; give -f"):
        write_page(out, Story())
    assert out.read_text() == "mine"
    write_page(out, Story(), force=True)
    assert out.read_text().startswith("<!doctype html>")
    with pytest.raises(ArgumentError, match=r"the folder .* does not exist"):
        write_page(tmp_path / "none" / "report.html", Story())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_charts_are_files_of_their_own(story, tmp_path):
    few = replace(story, evaluation=None, histograms=story.histograms[:1], frontier=None)
    for kind in ("svg", "png"):
        paths = write_charts(tmp_path / "charts", few, kind)
        assert [path.name for path in paths] == [
            f"{key}.{kind}" for key in ("map", "bytes", "bits", "errors", "sensitivity", "values-1")
        ]
    root = ElementTree.parse(tmp_path / "charts" / "bytes.svg").getroot()
    assert root.get("viewBox", "").startswith("0 0 340 ")
    image = Image.open(tmp_path / "charts" / "bytes.png").convert("RGB")
    assert image.width == 1020
    colours = dict((colour, count) for count, colour in image.getcolors(1 << 20))
    assert colours[(0x25, 0x63, 0xD8)] > 5000  # bars of what is left
    with pytest.raises(ArgumentError, match="exists"):
        write_charts(tmp_path / "charts", few, "png")
    with pytest.raises(ArgumentError, match='"svg" or "png"'):
        write_charts(tmp_path / "charts", few, "pdf")


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_a_missing_extra_is_told_before_any_work(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ArgumentError, match=rf"takes {package}: pip install 'taut\[report\]'"):
        write_page(tmp_path / "r.html", Story())
    with pytest.raises(ArgumentError, match=package):
        write_charts(tmp_path / "charts", Story())
    assert not list(tmp_path.iterdir())


def test_no_line_of_a_page_begins_with_the_sign_of_a_percentage() -> None:
    """What a reader copies stays as it is: commands, and what attributes say."""
    body = '<p id="2 %">1.5 % of 10 %</p><code>taut eval "3 %.pt"</code><p>4 %</p>'
    text = document("5 %", body)
    assert '<p id="2 %">1.5\u00a0% of 10\u00a0%</p>' in text
    assert '<code>taut eval "3 %.pt"</code><p>4\u00a0%</p>' in text
