"""Writes the texts that the search page's encoder is calibrated on, one a line.

    python -m bench.web.calibration_texts texts.txt
    python examples/web/prepare.py OUT --bits 1.7 --texts texts.txt

They are of the kinds that measure.py judges on, and of other parts of the data: 1,024 sentences of
STS-B's dev set, 400 of SST-2's training set, 200 lines of WikiText-2's validation text.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.data.assets import asset
from bench.data.draws import drawn
from bench.subjects.sentences import scored_texts, short_texts


def main() -> None:
    """Write the file."""
    path: Path = command_line().parse_args().path
    lines = [" ".join(text.split()) for text in texts()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} texts")


def texts() -> list[str]:
    """All of them."""
    wiki = asset("text/wikitext2/valid.txt").read_text(encoding="utf-8").splitlines()
    wiki = [line for line in wiki if len(line) > 40 and not line.startswith(" =")]
    return [*scored_texts(1024), *short_texts(400, limit=1000), *drawn(wiki, 200)]


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="Calibration texts of the search page's encoder.")
    parser.add_argument("path", type=Path, help="a .txt file to write")
    return parser


if __name__ == "__main__":
    main()
