"""The picture of the README: bytes against fidelity, a curve a codec, of what was measured.

    python -m bench.frontier.picture [--subject minilm_in] [--out docs/frontier.svg]

It reads bench/results/fidelity.json and measures nothing. Both axes are logarithmic: a file half as
large is the same step everywhere. Colours follow the reader's choice of light or dark.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.frontier.curves import curves_of
from bench.measuring import report

_NAMES = {
    "taut calibrated, finished": "Taut, calibrated",
    "taut data-free": "Taut, without data",
    "GPTQ": "GPTQ",
    "GPTQ, rotated": "GPTQ in random bases",
    "EntroPack": "EntroPack",
    "GPTQ + ZPAQ": "GPTQ + ZPAQ",
    "NNCodec": "NNCodec (ISO NNC)",
    "GGUF": "GGUF",
    "k-means + Huffman": "k-means + Huffman",
}
_OWN = "Taut"
_AXES = {
    "minilm_in": ("MiniLM sentence encoder, 22.7 M parameters", "1 - cosine to the original's"),
    "gpt2m": ("GPT-2-style language model, 2.0 M parameters", "loss added, nats a token"),
    "resnet20": ("ResNet-20, CIFAR-10", "points of accuracy lost"),
    "smollm2": ("SmolLM2-135M", "KL of the next token, nats"),
    "gemma3": ("Gemma-3-270M", "KL of the next token, nats"),
}
_STYLE = """
text { fill: #24292f } .mute { fill: #57606a } .grid { stroke: #d0d7de }
.lead { stroke: #8c959f; stroke-dasharray: 1 4; fill: none }
.peer { stroke: #8c959f; fill: none } .dot { fill: #8c959f }
.own { stroke: #0969da; fill: none; stroke-width: 2.5 } .owndot, .ownname { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .mute { fill: #9da7b3 } .grid { stroke: #30363d }
  .peer { stroke: #6e7681 } .dot { fill: #6e7681 }
  .own { stroke: #4493f8 } .owndot, .ownname { fill: #4493f8 }
}
"""


@dataclass(frozen=True)
class Frame:
    """Where numbers lie, in pixels: `left` to `right` are MB, `low` to `high` losses."""

    left: float
    right: float
    low: float
    high: float
    x0: float = 60
    x1: float = 600
    y0: float = 54
    y1: float = 330

    def x(self, megabytes: float) -> float:
        """Pixels from the left of a size."""
        share = math.log(megabytes / self.left) / math.log(self.right / self.left)
        return self.x0 + share * (self.x1 - self.x0)

    def y(self, loss: float) -> float:
        """Pixels from the top of a loss: more is higher."""
        share = math.log(loss / self.low) / math.log(self.high / self.low)
        return self.y1 - share * (self.y1 - self.y0)


def main(argv: Sequence[str] | None = None) -> None:
    """Draw, and say where the file is."""
    asked = command_line().parse_args(argv)
    held = json.loads((report.RESULTS / "fidelity.json").read_text())
    rows = [row for row in held["rows"] if row["subject"] == asked.subject]
    asked.out.write_text(drawn(asked.subject, rows), encoding="utf-8")
    report.say(f"wrote {asked.out}")


def drawn(subject: str, rows: Sequence[report.Row]) -> str:
    """The SVG of a subject's rows; ValueError where fewer than two curves were measured."""
    sizes = {row["bits"]: float(str(row["bytes"])) / 1e6 for row in rows if "bytes" in row}
    loss = "lost" if subject == "resnet20" else "loss"
    curves = {
        _NAMES[name]: sorted((sizes[bits], max(lost, 1e-6)) for bits, lost in points)
        for name, points in curves_of(rows, loss).items()
        if name in _NAMES
    }
    curves = {name: _falling(points) for name, points in curves.items()}
    if len(curves) < 2:
        raise ValueError(f"{subject}: {len(curves)} curves were measured; two are the least")
    title, axis = _AXES[subject]
    return _svg(title, axis, {name: points for name, points in curves.items() if len(points) > 1})


def _falling(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """What no smaller file of the same curve does as well."""
    found: list[tuple[float, float]] = []
    for size, lost in points:
        if not found or lost < found[-1][1]:
            found.append((size, lost))
    return found


def _svg(title: str, axis: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    sizes = [size for points in curves.values() for size, _ in points]
    losses = [lost for points in curves.values() for _, lost in points]
    frame = Frame(min(sizes) * 0.94, max(sizes) * 1.06, min(losses) * 0.8, max(losses) * 1.25)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 372" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(title)}: bytes on disk against {escape(axis)}</title>",
        f"<style>{_STYLE}</style>",
        f'<text x="0" y="16" font-weight="600">{escape(title)}</text>',
        f'<text x="0" y="36" class="mute">{escape(axis)}, on data that no codec has seen; '
        "lower and further left is better</text>",
        *_ticks(frame),
        _text(frame.x1, 366, "end", "MB on disk, everything counted"),
    ]
    names = sorted(curves, key=lambda name: name.startswith(_OWN))
    for name, place in zip(names, _places([frame.y(curves[n][-1][1]) for n in names]), strict=True):
        parts += _curve(frame, name, curves[name], place)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _curve(
    frame: Frame, name: str, points: Sequence[tuple[float, float]], place: float
) -> list[str]:
    own = name.startswith(_OWN)
    line, dot = ("own", "owndot") if own else ("peer", "dot")
    at = [(frame.x(size), frame.y(lost)) for size, lost in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    x, y = at[-1]
    label = "ownname" if own else "mute"
    return [
        f'<polyline class="{line}" points="{path}"/>',
        *(f'<circle class="{dot}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in at),
        f'<path class="lead" d="M{x + 5:.1f},{y:.1f} L606,{place:.1f}"/>',
        f'<text class="{label}" x="610" y="{place + 4:.1f}">{escape(name)}</text>',
    ]


def _places(heights: Sequence[float], apart: float = 17) -> list[float]:
    """Heights of labels near their curves' ends, none on top of another."""
    found = dict.fromkeys(range(len(heights)), 0.0)
    last = -math.inf
    for index in sorted(found, key=lambda i: heights[i]):
        last = found[index] = max(heights[index], last + apart)
    return [found[i] for i in range(len(heights))]


def _ticks(frame: Frame) -> list[str]:
    found = []
    for value in _round_numbers(frame.low, frame.high, (1, 3)):
        y = frame.y(value)
        found += [
            f'<line class="grid" x1="{frame.x0}" y1="{y:.1f}" x2="{frame.x1}" y2="{y:.1f}"/>',
            _text(frame.x0 - 6, y + 4, "end", f"{value:g}"),
        ]
    for value in _round_numbers(frame.left, frame.right, (1, 2, 3, 5, 7)):
        x = frame.x(value)
        found.append(_text(x, frame.y1 + 18, "middle", f"{value:g}"))
    return found


def _text(x: float, y: float, anchor: str, said: str) -> str:
    return f'<text class="mute" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}</text>'


def _round_numbers(low: float, high: float, digits: Sequence[int]) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    every = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return [value for value in every if low <= value <= high]


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", choices=[*_AXES], default="minilm_in")
    parser.add_argument("--out", type=Path, default=Path("docs/frontier.svg"))
    return parser


if __name__ == "__main__":
    main()
