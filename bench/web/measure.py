"""Bytes and seconds until a page answers, over a line of so many megabits a second.

    python -m bench.web.measure --encoder taut2=FILE [--encoder taut1.6=FILE ...]

The page is examples/web/search.html: a sentence encoder answers a question about sixteen lines, in
Chromium without a window. Each way is opened in a new browser with nothing kept (`cold`), and where
the page's runtime and scripts are kept from an earlier visit (`kept`); the ways take turns, and the
fastest of all rounds counts, since another program can only slow one down. `line` is what the bytes
that came take at that rate, `cpu_seconds` what follows them, in Node with one thread: their sum is
right on a busy machine, too. Cosines are those of the embeddings with float32's, in onnxruntime.
Wants `make wasm` and the client onnxruntime-web.
"""

from __future__ import annotations

import argparse
import json
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.measuring import report
from bench.web.browser import CHROMIUM, opened
from bench.web.server import Line, serve
from bench.web.way_names import INT8, PLAIN
from taut.demo.minilm import find_minilm

TOLD = """<script>
window.addEventListener("answered", async ({detail}) => {
    const told = JSON.stringify({page: location.pathname, ...detail});
    await fetch("/told", {method: "POST", body: told});
    const next = new URLSearchParams(location.search).get("next");
    if (next) location.href = next;
});
</script>"""
ROOT = Path(__file__).parents[2]
CPU = Path(__file__).with_name("cpu.mjs")
FAST = 1e12  # bits a second: what is kept from an earlier visit
WAIT = 300  # seconds for an answer


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it."""
    parser = command_line()
    asked = parser.parse_args(arguments)
    encoders = dict(asked.encoder)
    known = [*PLAIN, *(way for name in encoders for way in (name, f"{name}, onnxruntime"))]
    for path in encoders.values():
        if not path.is_file():
            parser.error(f"--encoder: there is no {path}")
    for way in asked.ways or ():
        if way not in known:
            parser.error(f'--ways: no way "{way}"; there are: {"; ".join(known)}')
    if CHROMIUM is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = asked.folder or Path(name)
        _finish(_rows(folder, asked), asked)


def _rows(folder: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Fill the folder, and measure every way."""
    from bench.web import ways as made
    from bench.web.ways import squeeze, write_ways

    made.copy_pages(folder, asked.runtime)
    report.say("writing the ways, and their brotli encodings")
    ways = write_ways(folder, dict(asked.encoder))
    ways = {way: ways[way] for way in asked.ways or ways}
    vocabulary = folder / "vocab.txt"
    shutil.copyfile(find_minilm() / "vocab.txt", vocabulary)
    told = {"search": {"use": "float32", "vocabulary": "vocab.txt", "ways": ways}}
    (folder / "models.json").write_text(json.dumps(told))
    for path in [*folder.rglob("*.wasm"), *folder.rglob("*.*js"), vocabulary]:
        squeeze(path)
    cosines, cpu = _judged(folder, ways), _cpu(folder, asked.runtime)
    times = _timed(folder, list(ways), asked)
    return [
        {
            "way": way,
            "model_bytes": _sent(folder, files),
            "cpu_seconds": cpu[way],
            **cosines[way],
            **times[way],
        }
        for way, files in ways.items()
    ]


def _judged(folder: Path, ways: dict[str, dict[str, str]]) -> dict[str, dict[str, float]]:
    """Mean cosine of embeddings with float32's, by way and kind of text."""
    from bench.web.ways import Judge, texts

    judge, sets = Judge(folder), texts()
    exact = {kind: judge.embed({"onnx": "float32.onnx"}, lines) for kind, lines in sets.items()}
    found = {}
    for way, files in ways.items():
        near = {kind: judge.embed(files, lines) * exact[kind] for kind, lines in sets.items()}
        found[way] = {kind: float(products.sum(1).mean()) for kind, products in near.items()}
        report.say(f"{way}: {found[way]}")
    return found


def _cpu(folder: Path, runtime: Path) -> dict[str, float]:
    """CPU seconds from bytes to the answer, by way."""
    command = ["node", CPU, ROOT / "build" / "js", runtime.resolve(), folder, "4"]
    done = subprocess.run([str(part) for part in command], capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _finish(rows: list[dict[str, Any]], asked: argparse.Namespace) -> None:
    for peer in (row for row in rows if row["way"] in INT8):
        for row in rows:
            for mode in ("cold", "kept"):
                sooner = peer[f"{mode}_seconds"] / row[f"{mode}_seconds"]
                row[f"{mode}, sooner than {peer['way']}"] = round(sooner, 2)
    path = report.save("web", rows, megabits=asked.megabits, delay=asked.delay, rounds=asked.rounds)
    keys = list(rows[0])
    print("| " + " | ".join(keys) + " |\n|" + "---|" * len(keys))
    for row in rows:
        shown = (f"{v:.4g}" if isinstance(v, float) else f"{v}" for v in row.values())
        print("| " + " | ".join(shown) + " |")
    report.say(f"{path}")


def _sent(folder: Path, way: dict[str, str]) -> int:
    """Bytes of a way's files as they go over the line; with an encoder no graph does."""
    sent = {key for key in way if key != "graph" or "encoder" not in way}
    paths = [folder / name for key, name in way.items() if key in sent]
    coded = [path.with_name(path.name + ".br") for path in paths]
    return sum(
        (one if one.is_file() else path).stat().st_size
        for path, one in zip(paths, coded, strict=True)
    )


def _timed(folder: Path, ways: list[str], asked: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Seconds and bytes of each way, of the fastest of all rounds."""
    found: dict[str, dict[str, Any]] = {way: {} for way in ways}
    for _ in range(asked.rounds):
        for way in ways:
            for mode in ("cold", "kept"):
                seconds, sent, near = answer(folder, way, mode == "kept", asked)
                best = found[way]
                if seconds < best.get(f"{mode}_seconds", WAIT):
                    line = 8 * sent / asked.megabits / 1e6  # what no processor makes shorter
                    best[f"{mode}_bytes"], best[f"{mode}_line"] = sent, line
                    best[f"{mode}_seconds"] = seconds
                best["nearest"] = near
                report.say(f"{way}, {mode}: {seconds:.2f} s, {sent} bytes: {near}")
    return found


def answer(folder: Path, way: str, kept: bool, asked: argparse.Namespace) -> tuple[float, int, str]:
    """Seconds until the page answered, bytes that came, and the line that it found."""
    answers: queue.Queue[dict[str, Any]] = queue.Queue()
    line = Line(FAST if kept else asked.megabits * 1e6, asked.delay)

    def told(one: dict[str, Any]) -> None:
        if kept and answers.empty() and line.rate == FAST / 8:  # the first visit is over
            line.rate = asked.megabits * 1e6 / 8
            line.sent.clear()
        else:
            answers.put(one)

    server, address = serve(folder, line, TOLD, told)
    page = f"/search.html?model={way.replace(' ', '%20')}"
    first = f"{page}&next={page.replace('%', '%25').replace('&', '%26')}" if kept else page
    try:
        with opened(address + first) as console:
            try:
                one = answers.get(timeout=WAIT)
            except queue.Empty:
                sys.exit(f"{way}: no answer in {WAIT} s: {console}")
    finally:
        server.shutdown()
    if "error" in one:
        sys.exit(f"{way}: {one['error']}")
    return one["seconds"], sum(line.sent.values()), one["near"][0][1]


def named_file(text: str) -> tuple[str, Path]:
    """A way's own name, and its file."""
    name, _, path = text.partition("=")
    if not (name and path):
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=FILE")
    if name in PLAIN:
        raise argparse.ArgumentTypeError(f"{name!r} is the name of another way")
    return name, Path(path)


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--encoder", action="append", default=[], metavar="NAME=FILE", type=named_file,
        help="a Taut file of the encoder, and what it is called; several",
    )  # fmt: skip
    parser.add_argument("--megabits", type=float, default=10, help="of the line, a second (10)")
    parser.add_argument("--delay", type=float, default=0.04, help="seconds before an answer (.04)")
    parser.add_argument("--ways", nargs="+", help="some ways alone, by name")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is opened (3)")
    parser.add_argument(
        "--folder", type=Path, help="where the pages are put; what is encoded there stays so"
    )
    client = "build/clients/onnxruntime-web/node_modules/onnxruntime-web"
    parser.add_argument("--runtime", type=Path, default=Path(client), help="of onnxruntime-web")
    return parser


if __name__ == "__main__":
    main()
