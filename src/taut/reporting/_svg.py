"""Figures as files, and as SVG that is part of a page and takes its colours and its font.

The same figure gives the same bytes: no date, and ids that follow from the chart's key.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Final, Literal
from xml.etree import ElementTree

from taut.reporting._canvas import ROLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMESPACE: Final = re.compile(r"\{[^}]*\}")
# As "font: 9px 'A', 'B'" or as "font-size: 9px; font-family: 'A', 'B'", by matplotlib's version.
_FONT: Final = re.compile(r"font: (?:(?:normal|bold|\d{3}) )*([\d.]+)px [^;]*")
_FAMILY: Final = re.compile(r"font-family: [^;]*;? ?")
_LOCAL: Final = re.compile(r"url\(#")


def image(figure: Figure, kind: Literal["svg", "png"], key: str) -> bytes:
    """The figure as a file's bytes; PNG has 216 dots an inch, three a unit."""
    import matplotlib

    out = io.BytesIO()
    with (
        matplotlib.rc_context(
            {"svg.fonttype": "none", "svg.hashsalt": key, "font.family": "DejaVu Sans"}
        ),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", UserWarning)  # its font has not every script
        if kind == "svg":
            figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        else:
            figure.savefig(out, format="png", dpi=216, metadata={"Software": None})
    return out.getvalue()


def inline(figure: Figure, key: str, title: str, description: str) -> str:
    """The figure as an `<svg>` for a page: CSS variables for colours, the page's own font.

    `title` and `description` are what a screen reader says of it.
    """
    root = ElementTree.fromstring(image(figure, "svg", key))
    for parent in root.iter():
        for child in list(parent):
            if _plain(child.tag) in ("metadata", "title"):
                parent.remove(child)
    for element in root.iter():
        _adapt(element, key)
    _, _, width, height = root.get("viewBox", "0 0 1 1").split()
    root.attrib.clear()
    root.attrib.update(
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
            "aria-labelledby": f"{key}-title {key}-desc",
        }
    )
    for tag, text in (("desc", description), ("title", title)):
        named = ElementTree.Element(tag, {"id": f"{key}-{tag}"})
        named.text = text
        root.insert(0, named)
    return re.sub(r">\s+<", "><", ElementTree.tostring(root, encoding="unicode"))


def _adapt(element: ElementTree.Element, key: str) -> None:
    """Drop namespaces and ids nobody refers to; make the others the page's only ones."""
    element.tag = _plain(element.tag)
    found = {_plain(name): value for name, value in element.attrib.items()}
    if element.tag == "g":
        found.pop("id", None)
    elif "id" in found:
        found["id"] = f"{key}-{found['id']}"
    if found.get("href", "").startswith("#"):
        found["href"] = f"#{key}-{found['href'][1:]}"
    for name in ("clip-path", "style"):
        if name in found:
            text = _LOCAL.sub(f"url(#{key}-", found[name])
            found[name] = _FAMILY.sub("", _FONT.sub(r"font-size: \1px", text))
    for role, colour in ROLES.items():
        found["style"] = found.get("style", "").replace(colour, f"var(--{role})")
    if not found["style"]:
        del found["style"]
    element.attrib.clear()
    element.attrib.update(found)


def _plain(name: str) -> str:
    return _NAMESPACE.sub("", name)
