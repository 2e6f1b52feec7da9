"""The pictures of docs/guide and docs/zh, from the values that the code of the pages computes.

Each page's Python and its `taut` commands run from top to bottom in a folder of their own. What
they leave is drawn, once with English words and once with Chinese ones. Takes a minute.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.guide.drawing import bars, chart, digits, page, strips
from bench.guide.words import CHINESE

ROOT: Final = Path(__file__).resolve().parents[2]
GUIDE: Final = ROOT / "docs" / "guide"
BLOCK: Final = re.compile(r"^```(?:python|yaml)\n(.*?)^```|^((?:    taut [^\n]*\n)+)", re.M | re.S)
FILE: Final = re.compile(r"# (\w+\.(?:py|yaml))\n")

Names = dict[str, Any]
Say = Callable[[str], str]


def why(names: Names, say: Say) -> str:
    shown = digits(names["examples"].numpy(), 16, [str(int(digit)) for digit in names["shown"]])
    sizes = bars("", {name: {"": 4.0 * count} for name, count in names["layers"].items()},
                 say("bytes of each tensor"))  # fmt: skip
    height = float(re.search(r'viewBox="0 0 \d+ ([\d.]+)"', sizes)[1])  # type: ignore[index]
    inner = sizes.split("</style>")[1].replace("</svg>", "")
    moved = f'<g transform="translate(0 96)">{inner}</g>'
    return page(height + 96, say("Ten digits, and the bytes of each tensor"), [moved, *shown])


def encoding(names: Names, say: Say) -> str:
    points = [
        (100 * share, read) for share, read in zip(names["shares"], names["curve"], strict=True)
    ]
    return chart(say("Accuracy by the size of the noise"), {say("noise in every tensor"): points},
                 say("noise, percent of a weight's size"), say("percent read"))  # fmt: skip


def quantisation(names: Names, say: Say) -> str:
    ways = {"a scale a tensor": "by_tensor", "a scale a row": "rows", "a scale for 32": "groups"}
    series = {say(name): _pairs(names["depths"], names[key]) for name, key in ways.items()}
    return chart(say("Accuracy by bits"), series, say("bits of an index"), say("percent read"))


def few_levels(names: Names, say: Say) -> str:
    levels = {say(name): marks for name, marks in names["levels"].items()}
    return strips(say("a row of weights"), names["matrix"][0].numpy(), levels)


def with_data(names: Names, say: Say) -> str:
    read = {"as trained": names["accuracy"](names["net"]), **names["read"]}
    return bars(say("Accuracy at two bits"), {say(name): {"": one} for name, one in read.items()},
                say("percent read"))  # fmt: skip


def sparsity(names: Names, say: Say) -> str:
    percent = [100 * share for share in names["shares"]]
    again = [(100 * share, read) for share, read in names["again"].items()]
    series = {
        say("trained again"): again,
        say("whole units"): _pairs(percent, names["units"]),
        say("single weights"): _pairs(percent, names["single"]),
        say("2:4"): [(50.0, names["pattern"])],
    }
    return chart(say("Accuracy by the share of zeros"), series, say("percent of zeros"),
                 say("percent read"))  # fmt: skip


def distillation(names: Names, say: Say) -> str:
    chances = {
        str(digit): {f"T = {T}": 100 * soft[digit] for T, soft in names["soft"].items()}
        for digit in range(10)
    }
    return bars(say("The chances of ten digits"), chances, say("chance, percent"))


def entropy_coding(names: Names, say: Say) -> str:
    series = {say(name): _pairs(names["steps"], bits) for name, bits in names["curve"].items()}
    return chart(say("Bits a weight by the step"), series, say("step, in standard deviations"),
                 say("bits a weight"))  # fmt: skip


def trellis(names: Names, say: Say) -> str:
    ways = {"nearest level": "nearest", "with a price": "priced", "trellis": "paths"}
    series = {
        say(name): [
            (bits, float(names["gap"](bits, error))) for bits, error in reversed(names[key])
        ]
        for name, key in ways.items()
    }
    return chart(say("Bits that are wasted"), series, say("bits a weight"), say("bits wasted"))


def judging(names: Names, say: Say) -> str:
    recall = {
        str(digit): {say(name): 100 * float(one[digit]) for name, one in names["recall"].items()}
        for digit in range(10)
    }
    return bars(say("Recall of each digit"), recall, say("recall, percent"))


def practice(names: Names, say: Say) -> str:
    read = names["read"]
    rows = {
        f"{say(name)} · {read[name]:.1f} %": {"": size} for name, size in names["sizes"].items()
    }
    return bars(
        say("Accuracy by bytes"), rows, f"{say('bytes of the file')} · {say('percent read')}"
    )


def phone(names: Names, say: Say) -> str:
    called = [str(digit) for digit in names["expected"].argmax(1)]
    return page(104, say("What the page reads"), digits(names["drawn"], 16, called))


PICTURES: Final = {
    one.__name__: one
    for one in (why, encoding, quantisation, few_levels, with_data, sparsity, distillation,
                entropy_coding, trellis, judging, practice, phone)
}  # fmt: skip


def _pairs(xs: list[float], ys: list[float]) -> list[tuple[float, float]]:
    return list(zip(xs, ys, strict=True))


def run(name: str, folder: Path) -> Names:
    """Follow a page in a folder of its own; gives the names that its Python leaves."""
    names: Names = {"__name__": name}
    folder.mkdir()
    for file in folder.parent.glob("*.*"):
        shutil.copyfile(file, folder / file.name)
    with contextlib.chdir(folder):
        for code, commands in BLOCK.findall((GUIDE / f"{name}.md").read_text(encoding="utf-8")):
            if code and (shown := FILE.match(code)):
                Path(shown[1]).write_text(code, encoding="utf-8")
            elif code:
                with contextlib.redirect_stdout(io.StringIO()):
                    exec(compile(code, name, "exec"), names)
            for command in commands.splitlines():
                words = shlex.split(command, comments=True)[1:]
                subprocess.run([sys.executable, "-m", "taut", *words], check=True,
                               capture_output=True)  # fmt: skip
    return names


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--page", choices=PICTURES, action="append", help="this one alone")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="the folder docs/")
    return parser


def main() -> None:
    asked = command_line().parse_args()
    with tempfile.TemporaryDirectory() as made:
        sys.path.insert(0, made)
        for page_name in ("why", "practice"):
            _keep_files(page_name, Path(made))
        with contextlib.chdir(made):
            importlib.import_module("digits").model()  # trains, and keeps digits.safetensors
        for name in asked.page or PICTURES:
            print(name, file=sys.stderr)
            names = run(name, Path(made, name))
            for where, say in (("guide", str), ("zh", CHINESE.__getitem__)):
                picture = asked.out / where / f"{name}.svg"
                picture.parent.mkdir(parents=True, exist_ok=True)
                picture.write_text(PICTURES[name](names, say), encoding="utf-8")


def _keep_files(name: str, folder: Path) -> None:
    """The files that a page shows whole, where the code of all pages imports them from."""
    for code, _ in BLOCK.findall((GUIDE / f"{name}.md").read_text(encoding="utf-8")):
        if file := FILE.match(code):
            (folder / file[1]).write_text(code, encoding="utf-8")


if __name__ == "__main__":
    main()
