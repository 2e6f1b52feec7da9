"""A calibrated run that is killed twice and resumed, beside one that nobody disturbed.

    python -m bench.scale.resumed FOLDER TEXT WINDOWS BITS RESULT [--die sequence:3 finish:2]

FOLDER may be `random:WIDTH,MLP,LAYERS,VOCABULARY`, a Llama in bfloat16 of these shapes. The folder
RESULT is written by the undisturbed run, RESULT.resumed by the other, whose process kills itself
(SIGKILL) at the stages named. Prints the CPU seconds of each, and whether the files are the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.scale.collecting import made_folder


def main(argv: Sequence[str] | None = None) -> None:
    """Run both, and print what they took."""
    asked = command_line().parse_args(argv)
    with tempfile.TemporaryDirectory() as made:
        random = asked.model.startswith("random:")
        folder = made_folder(asked.model, Path(made)) if random else Path(asked.model)
        words = [str(folder), asked.text, str(asked.windows), str(asked.bits)]
        whole = _ran([*words, str(asked.result)])
        print(f"undisturbed: {whole:.0f} CPU s", flush=True)
        other = asked.result.with_name(asked.result.name + ".resumed")
        spent = 0.0
        for number, stage in enumerate(asked.die):
            resume = ["--resume"] if number else []
            spent += _ran([*words, str(other), *resume, "--die", stage])
            print(f"killed at {stage}: {spent:.0f} CPU s so far", flush=True)
        spent += _ran([*words, str(other), "--resume"])
        same = _digest(asked.result) == _digest(other)
        print(f"resumed: {spent:.0f} CPU s, {'the same' if same else 'OTHER'} bytes")
        if not same:
            raise SystemExit(1)


def command_line() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder that transformers opens, or random:...")
    parser.add_argument("text", help="a text to take windows of")
    parser.add_argument("windows", type=int, help="windows of 512 tokens")
    parser.add_argument("bits", type=float, help="bits a weight, everything counted")
    parser.add_argument("result", type=Path, help="the folder to write")
    parser.add_argument(
        "--die", nargs="*", default=["sequence:3", "finish:2"], metavar="STAGE:DONE"
    )
    return parser


def _ran(words: Sequence[str]) -> float:
    """CPU seconds of `bench.scale.compressing`, which may kill itself."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.scale.compressing", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode and "--die" not in words:
        raise SystemExit(f"{' '.join(command)} failed")
    return float(json.loads(done.stdout.splitlines()[-1])["cpu"])


def _digest(folder: Path) -> str:
    """Of all files of a folder, and their names."""
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


if __name__ == "__main__":
    main()
