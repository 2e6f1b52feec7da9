"""What a small network's biases, norms and small matrices cost: ResNet-20 by size, without data.

    python -m bench.lossy.small_cnn [--thin 10]

Each size is met three times: with all that is no matrix of 1,024 values bit-exact, with it as
float16 (which `size` and `bits` do), and with the small matrices under the dial too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import taut
from bench.measuring import report
from bench.subjects.images import ResNet20
from taut.planning import quantisable

_TIMES = (8, 12, 16, 20)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of accuracies and write `bench/results/small_cnn.json`."""
    arguments = command_line().parse_args(argv)
    judged = ResNet20(arguments.thin)
    rows = list(_rows(judged))
    report.save("small_cnn", rows)
    original = judged.fidelity(judged.weights)["accuracy"]
    print(f"ResNet-20 on CIFAR-10, rounded without data; the original: {original:.2f} %\n")
    columns = {"rest": "what is no large matrix"}
    table = [
        {"rest": rest} | {f"{r['times']}x": r["accuracy"] for r in rows if r["rest"] == rest}
        for rest in dict.fromkeys(r["rest"] for r in rows)
    ]
    print(report.table(columns | {f"{times}x": f"{times}x, %" for times in _TIMES}, table))
    print(report.footer())


def _rows(judged: ResNet20) -> Iterator[dict[str, object]]:
    for rest, plan in _plans(judged).items():
        for times in _TIMES:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "x")
                made = taut.compress(judged.weights, path, size=f"{times}x", plan=plan)
                measured = judged.fidelity(taut.load(path))
            yield {"rest": rest, "times": times, "size": made.size} | measured


def _plans(judged: ResNet20) -> dict[str, dict[str, str] | None]:
    """What is said of the tensors that the dial is not for, by a name for it."""
    small = {n: w for n, w in judged.weights.items() if not quantisable("F32", w.shape)}
    return {
        "bit-exact": dict.fromkeys(small, "lossless"),
        "float16": None,
        "float16, small matrices rounded": {n: "rd" for n, w in small.items() if w.ndim > 1},
    }


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="A small network's small tensors.")
    parser.add_argument("--thin", type=int, default=1, help="judge every so many-th test image")
    return parser


if __name__ == "__main__":
    main()
