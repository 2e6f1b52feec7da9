"""ONNX exports in onnxruntime: bytes, latency beside the float32 graph, and what the score lost.

All ways of a model run in turns, a call of each and then in the reverse order, so that a machine
that is busy slows all alike; medians are compared. Scores are of the written files.

python -m bench.runtime.exports              # all models, one and two threads
python -m bench.runtime.exports --subject resnet20 --seconds 30
python -m bench.runtime.exports --show       # prints what the file holds
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch

from bench.measuring import report
from bench.subjects.named import subject
from bench.subjects.subject import Batch, Subject
from taut.evaluation.speed import Repeats, compare_speed
from taut.exporting.onnx.onnx_form import OnnxForm
from taut.exporting.onnx.write import export_onnx
from taut.networks.onnx_module import open_onnx
from taut.networks.onnx_session import feed, open_session

WAYS: Final[Mapping[str, OnnxForm]] = {
    "float32": OnnxForm(weights="float32"),
    "float16": OnnxForm(weights="float16"),
    "int8, weights alone": OnnxForm(weights="int8", activations="none"),
    "int8 dynamic": OnnxForm(weights="int8", activations="dynamic"),
    "int8 static": OnnxForm(weights="int8", activations="static"),
    "int4 g32": OnnxForm(weights="int4"),
}


def main() -> None:
    """Export, judge and time; print a table and write `bench/results/runtime.json`."""
    asked = command_line().parse_args()
    file = report.RESULTS / f"{asked.name}.json"
    kept: list[report.Row] = json.loads(file.read_text())["rows"] if file.exists() else []
    if asked.show:
        print(shown(kept))
        return
    torch.set_num_threads(1)
    rows: list[report.Row] = []
    for name in asked.subject:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(subject(name, asked.thin), Path(folder), asked.threads, asked.seconds)
    if asked.update:
        done = {row["model"] for row in rows}
        rows = [row for row in kept if row["model"] not in done] + rows
    report.save(asked.name, rows, seconds=asked.seconds)
    print(shown(rows))


def shown(rows: Sequence[report.Row]) -> str:
    """A line a model and way; a column of times as fast as float32 for each kind of call."""
    calls = list(dict.fromkeys(_call(row) for row in rows))
    lines: dict[tuple[object, object], dict[str, object]] = {}
    for row in rows:
        line = lines.setdefault((row["model"], row["way"]), {})
        line |= {"model": row["model"], "way": row["way"], "bytes": f"{row['bytes']:,}"}
        line["score"] = f"{row['before']:.4g} -> {row['after']:.4g} ({row['measure']})"
        line["cosine"] = f"{row['cosine']:.4f}"
        line[_call(row)] = f"{row['faster']:.2f}"
    titles = ("model", "way", "bytes", "score", "cosine", *calls)
    return report.table({title: title for title in titles}, list(lines.values()))


def _call(row: report.Row) -> str:
    """Words for a batch and a number of threads."""
    size, count = str(row["batch"]).split("x")[0], row["threads"]
    return f"batch {size}, {count} thread{'s' if count != 1 else ''}"


def measured(one: Subject, folder: Path, threads: list[int], seconds: float) -> list[report.Row]:
    """Rows of one model: a way, a number of threads and a batch each."""
    batches = sorted(one.calibration, key=_size, reverse=True)[:8]
    measure = {"resnet20": "accuracy"}.get(one.network, "spearman")
    about = {"measure": measure, "before": one.fidelity(one.weights)[measure]}
    found = exported(one, folder, batches, measure)
    rows: list[report.Row] = []
    for count in threads:
        for batch in _timed(one, batches[0]):
            runs = {way: _run(folder / name, batch, count) for way, (name, _) in found.items()}
            timed = compare_speed(
                runs,
                samples=_samples(batch),
                runtime="onnxruntime",
                repeats=Repeats(runs=400, seconds=seconds),
            )
            for way, speed in timed.items():
                rows.append(
                    {"model": one.network, "way": way, "threads": count, "batch": _label(batch)}
                    | {**about, "runs": speed.runs, "p50_ms": 1e3 * speed.p50}
                    | {"faster": timed["float32"].p50 / speed.p50, **found[way][1]}
                )
    return rows


def exported(
    one: Subject, folder: Path, batches: list[Batch], measure: str
) -> dict[str, tuple[str, dict[str, object]]]:
    """The file of each way that can be exported, and what it was weighed and judged as."""
    module = one.module()
    found: dict[str, tuple[str, dict[str, object]]] = {}
    for way, form in WAYS.items():
        path = folder / f"{len(found)}.onnx"
        try:
            done = export_onnx(module, batches[0], path, form, batches=batches)
        except Exception as error:
            print(f"{one.network}, {way}: left out: {error}", file=sys.stderr)
            continue
        print(f"{one.network}, {way}: {done.size:,} bytes", file=sys.stderr)
        assert done.check is not None
        one._judged = open_onnx(path, threads=1)  # judged as any other network is
        after = one.fidelity({})[measure]
        found[way] = path.name, {"bytes": done.size, "after": after, "cosine": done.check.cosine}
    return found


def _run(path: Path, batch: Batch, threads: int) -> Callable[[], object]:
    session = open_session(path, threads=threads)
    given = feed(session, batch)
    return lambda: session.run(None, given)


def _timed(one: Subject, batch: Batch) -> list[Batch]:
    """One sample, and 32 (of 32 tokens)."""
    if isinstance(batch, torch.Tensor):
        return [batch[:1], batch[:32]]
    ids = batch["input_ids"].flatten()
    found: list[Batch] = []
    for size in (1, 32):
        drawn = ids[torch.arange(size * 32) % len(ids)].reshape(size, 32)
        found.append({"input_ids": drawn, "attention_mask": torch.ones_like(drawn)})
    return found


def _size(batch: Batch) -> int:
    return batch.numel() if isinstance(batch, torch.Tensor) else batch["input_ids"].numel()


def _samples(batch: Batch) -> int:
    return len(batch) if isinstance(batch, torch.Tensor) else len(batch["input_ids"])


def _label(batch: Batch) -> str:
    shape = batch.shape if isinstance(batch, torch.Tensor) else batch["input_ids"].shape
    return "x".join(map(str, shape))


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subject", nargs="+", default=["resnet20", "minilm_in"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each comparison")
    parser.add_argument("--thin", type=int, default=1, help="judge by every n-th piece of data")
    parser.add_argument("--name", default="runtime")
    parser.add_argument("--update", action="store_true", help="keep other models' rows")
    parser.add_argument("--show", action="store_true")
    return parser


if __name__ == "__main__":
    main()
