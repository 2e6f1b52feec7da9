"""What a language model of characters loses: an LSTM, judged with its states carried.

    python -m bench.frontier.recurrent FILE [--bits 3]

FILE has the weights that `python -m bench.subjects.recurrent FILE` trains. Each file's loss is told
on the last tenth of the text, from its beginning to its end; work is seconds of the processor.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

import taut
from bench.measuring import report
from bench.subjects.recurrent import CharacterModel, bits_per_character, text, windows

_WINDOWS, _LENGTH = 128, 128


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of losses."""
    arguments = command_line().parse_args(argv)
    model = opened(arguments.file)
    before = bits_per_character(model, arguments.characters)
    rows = [{"file": "the original", "bpc": before}]
    for bits in arguments.bits:
        for finish in (False, True):
            rows.append(row(model, bits, before, arguments, finish=finish))
    columns = {
        "file": "",
        "bits": "bits",
        "bpc": "bits a character",
        "lost": "lost, %",
        "work": "s",
    }
    print(report.table(columns, rows))
    print(report.footer())


def opened(file: Path) -> CharacterModel:
    """The model with weights of a file."""
    model = CharacterModel(text()[2])
    model.load_state_dict(load_file(file))
    return model.eval()


def row(
    model: CharacterModel, bits: float, before: float, asked: argparse.Namespace, *, finish: bool
) -> dict[str, object]:
    """Compress, load, and judge."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.taut.safetensors")
        made = taut.compress(
            model,
            path,
            bits=bits,
            calib=windows(_WINDOWS, _LENGTH),
            finish=finish,
            seed=asked.seed,
            progress=False,
        )
        work = time.process_time() - begun
        other = taut.load(path, into=CharacterModel(text()[2])).eval()
    after = bits_per_character(other, asked.characters)
    name = "finished" if finish else "not finished"
    lost = 100 * (after / before - 1)
    return {"file": name, "bits": made.bits, "bpc": after, "lost": lost, "work": work}


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="What an LSTM of characters loses.")
    parser.add_argument("file", type=Path, help="weights of bench.subjects.recurrent")
    parser.add_argument("--bits", type=float, nargs="+", default=[3.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--characters", type=int, help="judge by so many; by default the whole tenth"
    )
    return parser


if __name__ == "__main__":
    main()
