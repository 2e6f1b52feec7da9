"""What the GitHub Action does: compress, verify, judge; it fails when the score falls too far.

Inputs come as environment variables (action.yml), never as a part of a command line that a shell
reads. The exit code is that of the command that failed; 3 where the score fell too far.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run the three steps; write outputs and a summary where GitHub wants them."""
    model, output = os.environ["TAUT_MODEL"], os.environ["TAUT_OUTPUT"]
    options = shlex.split(os.environ.get("TAUT_OPTIONS", ""))
    made = _taut("compress", model, "-o", output, "--json", *options)
    if isinstance(made, int):
        return made
    verified = _taut("verify", str(made["path"]), "--json")
    if isinstance(verified, int):
        return verified
    said = {"file": made["path"], "bytes": made["size"], "ratio": f"{made['ratio']:.2f}"}
    failed = 0
    if score := os.environ.get("TAUT_SCORE", ""):
        original = os.environ.get("TAUT_ORIGINAL") or model
        judged = _taut(
            "eval", str(made["path"]), "--original", original, "--score", score, "--json"
        )
        if isinstance(judged, int):
            return judged
        before, after = (_score(judged[one]) for one in ("original", "model"))
        failed = 0 if after >= _least(before) else 3
        said |= {"score": after, "score of the original": before}
    _tell(said, failed)
    return failed


def _taut(*arguments: str) -> dict[str, object] | int:
    """What a command prints as JSON, or its exit code if it failed; it says itself why."""
    command = [sys.executable, "-m", "taut", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return done.returncode
    found: dict[str, object] = json.loads(done.stdout)
    return found


def _score(judged: object) -> float:
    """The metric that decides: the first one."""
    assert isinstance(judged, dict)
    return float(judged["scores"]["metrics"][0]["value"])


def _least(before: float) -> float:
    """The lowest score that is allowed."""
    from taut.planning.max_drop import parse_drop

    return parse_drop(os.environ.get("TAUT_MAX_DROP") or "0.5%").least(before)


def _tell(said: dict[str, object], failed: int) -> None:
    rows = "".join(f"| {name} | {value} |\n" for name, value in said.items())
    verdict = "\nThe score fell further than `max-drop` allows.\n" if failed else ""
    summary = f"### Taut\n\n| | |\n|---|---|\n{rows}{verdict}"
    print(summary)
    _append("GITHUB_STEP_SUMMARY", summary)
    lines = (f"{name}={value}\n" for name, value in said.items() if " " not in name)
    _append("GITHUB_OUTPUT", "".join(lines))


def _append(variable: str, text: str) -> None:
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    raise SystemExit(main())
