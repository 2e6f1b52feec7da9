"""A residual network for an edge device: 1/8 of its size, at most a point of accuracy lost, int8.

    python examples/edge_image_classifier.py                  # digits: needs no download
    python examples/edge_image_classifier.py --data FOLDER    # CIFAR-10 (docs/edge.md)

Analyses a trained network, plans and writes a Taut file, exports int8 ONNX, and int8 LiteRT where
`pip install 'taut[litert]'` was run, judges them on images that nothing before has seen, and leaves
the files and a report in ./edge. Exit code 3: a target was missed.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import torch
from edge_table import SMALLER, Lite, Outcome, table, targets
from image_sets import CIFAR10, Pictures, Task, cifar10, digits
from torch import Tensor, nn

import taut
from taut.evaluation.speed import Repeats, compare_speed
from taut.exporting.onnx.onnx_form import OnnxForm
from taut.exporting.onnx.write import export_onnx
from taut.networks.onnx_module import open_onnx
from taut.planning import dump_plan
from taut.reporting.page import write_charts, write_page
from taut.reporting.tell import Evidence, tell
from taut.scoring.results import Evaluation, Speed

BATCHES = (1, 64)  # images that are timed at once

Score = Callable[[nn.Module], dict[str, object]]


def main(arguments: Sequence[str] | None = None) -> int:
    asked = _asked(arguments)
    folder: Path = asked.out
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    _say("loading" if asked.data else "training")
    task = cifar10(asked.data) if asked.data else digits(epochs=6 if asked.quick else 12)
    print(task.about)
    if not asked.data:
        print("(a stand-in: --data FOLDER runs CIFAR-10, as docs/edge.md tells)")
    outcome = run(task.thinned() if asked.quick else task, folder, asked.threads, asked.watts)
    print(table(outcome))
    met = targets(outcome)
    for text, good in met.items():
        print(f"{'met   ' if good else 'MISSED'} {text}")
    print(f"{folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")
    _say(f"{time.perf_counter() - began:.0f} s in all")
    return 0 if all(met.values()) else 3


def run(task: Task, folder: Path, threads: int, watts: float | None) -> Outcome:
    """The whole way: analyse, plan, compress, judge, export, judge again, tell."""
    net, calibration, judge = task.net, task.calibration, score_on(task.test)
    small, floats, integers = (folder / f"edge{end}" for end in
                               (".taut.safetensors", "_float32.onnx", ".onnx"))  # fmt: skip

    _say("analyse")
    report = taut.analyze(net, calibration)
    plan = taut.plan(report, size=f"{SMALLER}x")
    (folder / "plan.yaml").write_text(dump_plan(plan))

    _say("compress")
    taut.compress(net, small, plan=plan, calib=calibration, force=True)

    _say("judge the Taut file")
    one, many = (task.test.images[:count] for count in BATCHES)
    costs = taut.evaluate(
        small, original=net, calib=[one], fidelity=False, speed=True, memory=True, energy=True,
        threads=threads, watts=watts,
    )  # fmt: skip
    near = taut.evaluate(small, judge, original=net, calib=calibration, threads=threads)
    smaller = together(near, costs)

    _say("export to ONNX, and judge it in onnxruntime")
    done = taut.export(
        small, integers, into=net, calib=calibration, weights="int8", activations="static",
        score=score_on(task.choice), force=True,
    )  # fmt: skip
    plain = OnnxForm(weights="float32")  # to compare with
    export_onnx(net, calibration[0], floats, plain, force=True)
    faster = taut.evaluate(integers, judge, original=net, calib=[one], energy=True, watts=watts)

    lite = _lite(task, small, folder / "edge.tflite")

    _say("time all ways in turns")
    ways = {
        "original, PyTorch": net,
        "Taut file, PyTorch": taut.load(small, into=copy.deepcopy(net)),
        "int8, onnxruntime": open_onnx(integers, threads=threads),
        "float32, onnxruntime": open_onnx(floats, threads=threads),
    }
    speeds = tuple(_timed(ways, images, threads) for images in (one, many))

    _say("report")
    evidence = Evidence(
        evaluation=smaller, analysis=report, exports=[done], plan=folder / "plan.yaml"
    )
    story = tell(small, evidence, original=net, title="Edge image classifier")
    write_page(folder / "edge.html", story, force=True)
    write_charts(folder / "charts", story, force=True)
    return Outcome(smaller, faster, floats.stat().st_size, *speeds, lite)


def _lite(task: Task, small: Path, out: Path) -> Lite | None:
    """The Taut file's network for LiteRT, judged there; None where its packages are missing."""
    if find_spec("litert_torch") is None:
        return None
    from taut.exporting.device.as_module import answering_module
    from taut.exporting.litert.interpreter import LiteRunner

    _say("export to LiteRT, and judge it there")
    done = taut.export(small, out, into=task.net, calib=task.calibration, force=True)
    written = LiteRunner(out).written(out.name)
    module = answering_module(written, task.net, task.calibration[0][:1])
    with torch.inference_mode():
        right = module(task.test.images).argmax(1) == task.test.labels
    return Lite(done.size, float(right.float().mean()))


def together(near: Evaluation, costs: Evaluation) -> Evaluation:
    """Scores and outputs of many images, and what one image takes in time, memory and energy."""
    assert near.original is not None and costs.original is not None
    model, original = (
        replace(one, speed=other.speed, memory=other.memory, energy=other.energy)
        for one, other in ((near.model, costs.model), (near.original, costs.original))
    )
    notes = tuple(dict.fromkeys((*near.notes, *costs.notes)))
    return replace(near, model=model, original=original, notes=notes)


def score_on(pictures: Pictures) -> Score:
    """What judges a model: labels and logits, of which Taut makes the metrics."""

    def score(net: nn.Module) -> dict[str, object]:
        with torch.inference_mode():
            logits = torch.cat([net(images) for images in pictures.images.split(250)])
        return {"labels": pictures.labels, "logits": logits, "classes": pictures.classes}

    return score


def _timed(ways: dict[str, nn.Module], images: Tensor, threads: int) -> dict[str, Speed]:
    """Medians of calls that take turns, so that a busy machine slows all ways alike."""
    runs = {name: _call(net, images) for name, net in ways.items()}
    with torch.inference_mode():
        return compare_speed(
            runs, samples=len(images), runtime="", threads=threads, repeats=Repeats(runs=100)
        )  # fmt: skip


def _call(net: nn.Module, images: Tensor) -> Callable[[], object]:
    return lambda: net(images)


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    assets = os.environ.get("TAUT_ASSETS")
    parser.add_argument("--data", type=Path, default=Path(assets) if assets else None,
                        help="a folder with cifar10/ in it (also: TAUT_ASSETS)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=Path("edge"), help="where to write (./edge)")
    parser.add_argument("--force", action="store_true", help="replace what an earlier run left")
    parser.add_argument(
        "--quick", action="store_true", help="few images: a try, and no measurement"
    )
    parser.add_argument("--threads", type=int, default=1, help="of what is timed (1)")
    parser.add_argument("--watts", type=float,
                        help="of a busy core: estimates energy where no meter is")  # fmt: skip
    asked = parser.parse_args(arguments)
    for name in CIFAR10:
        if asked.data and not (asked.data / name).is_file():
            parser.error(f"--data {asked.data}: has no {name}; leave it out for the digits")
    if asked.out.exists() and not asked.force:
        parser.error(f"--out {asked.out}: is there already; name another, or give --force")
    return asked


def _say(step: str) -> None:
    print(f"... {step}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
