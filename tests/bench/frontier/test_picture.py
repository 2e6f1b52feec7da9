"""The README's picture: what it draws of which rows."""

from xml.etree import ElementTree

import pytest

from bench.frontier.picture import drawn

SVG = "{http://www.w3.org/2000/svg}"


def row(curve: str, megabytes: float, loss: float) -> dict[str, object]:
    bits = 8 * megabytes / 22.7
    return {"curve": curve, "bits": bits, "bytes": int(megabytes * 1e6), "loss": loss}


OWN = [row("taut calibrated, finished", mb, lost) for mb, lost in ((5, 0.05), (7, 0.01))]
PEER = [row("GPTQ", mb, lost) for mb, lost in ((9, 0.05), (12, 0.01), (13, 0.02))]


def test_each_curve_is_named_and_falls_towards_larger_files():
    tree = ElementTree.fromstring(drawn("minilm_in", [*OWN, *PEER]))
    names = {text.text for text in tree.iter(f"{SVG}text")}
    assert {"Taut, calibrated", "GPTQ"} <= names
    lines = {line.get("class"): line.get("points") for line in tree.iter(f"{SVG}polyline")}
    own = [tuple(map(float, point.split(","))) for point in lines["own"].split()]
    assert own[0][0] < own[1][0] and own[0][1] < own[1][1]  # less loss lies lower
    assert len(lines["peer"].split()) == 2  # the third point is larger and worse


def test_one_curve_alone_is_no_comparison():
    with pytest.raises(ValueError) as found:
        drawn("minilm_in", OWN)
    assert "1 curves" in str(found.value)
