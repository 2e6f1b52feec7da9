"""What each part of the calibrated method is worth: the loss without it, in a file as large.

    python -m bench.frontier.ablation [--subject minilm_in gpt2m] [--parts "no feedback" ...]
                                      [--update]

A part's worth is the bits a parameter that the whole method saves at the loss that is left without
the part, by a straight line through the whole method's own points: how far these are from zero is
how much of any worth is chance. What is added to the method has a negative worth if it helps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.data.tensors import Array
from bench.measuring import report
from bench.subjects.named import subject
from bench.subjects.subject import Subject
from taut.analysis import Curvature, Pieces
from taut.calibration import (
    Findings,
    Options,
    Request,
    Work,
    calibrate,
    written_values,
)
from taut.compression.origin import origin_of
from taut.encoding.data_free import lossy_schemes
from taut.errors import TautError
from taut.io import Source, open_source
from taut.networks import Calibration, LoadedModel, open_calibration, open_model
from taut.planning import parse_target
from taut.scheme import Scheme

_BITS = {"minilm_in": 1.85, "gpt2m": 2.57}
_ALL = "all"
_COARSER = {"all, a quarter of a bit less": 0.25, "all, half a bit less": 0.5}
_COLUMNS = {"part": "", "lambda": "lambda", "bits": "bits", "worth": "worth, bits"}

Change = Callable[[Curvature, float], Curvature]  # of the mean square of the weights, too


@dataclass(frozen=True)
class Part:
    """A way to compress: the whole method but for some options, or with another curvature."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)
    change: Change | None = None
    finish: bool = False
    sequential: bool = False
    fewer: float = 0.0  # bits


class Once(Findings):
    """The curvature of a run, changed; `known` keeps it as it was measured, for the next run."""

    def __init__(self, known: dict[str, Curvature], source: Source, change: Change | None) -> None:
        super().__init__()
        self._known, self._source, self._change = known, source, change

    def curvatures(
        self, names: Collection[str], make: Callable[[Pieces | None], Mapping[str, Curvature]]
    ) -> dict[str, Curvature]:
        """What the first run measured."""
        if not self._known:
            self._known.update(make(None))
        if self._change is None:
            return dict(self._known)
        powers = {name: float(np.square(self._source.load(name)).mean()) for name in self._known}
        return {name: self._change(one, powers[name]) for name, one in self._known.items()}


def one_number(one: Curvature, power: float) -> Curvature:
    """Outputs count alike within a matrix: their metric is the mean of its diagonal."""
    del power
    if one.kind == "embedding":  # whose columns are its outputs
        return replace(one, columns=np.full(one.columns.shape[-1], _mean(one.columns)))
    return replace(one, rows=np.full(len(one.rows), _mean(one.rows)))


def no_gradients(one: Curvature, power: float) -> Curvature:
    """Without gradients all that counts is a layer's own relative error, in all layers alike.

    Of a matrix that is used in several ways only its values are left.
    """
    rows = np.ones(len(one.rows))
    columns: Array = np.ones(one.columns.shape[-1])
    if one.kind == "embedding":
        return replace(one, rows=one.rows / (_mean(one.rows) * power or 1.0), columns=columns)
    if "+" not in one.kind:
        columns = one.columns / (_mean(one.columns) or 1.0)
    return replace(one, rows=rows / (power or 1.0), columns=columns)


def no_bias(one: Curvature, power: float) -> Curvature:
    """No mean of the inputs, and so no correction of the bias."""
    del power
    return replace(one, mean_input=None)


PARTS = (
    Part(_ALL),
    *(Part(name, fewer=fewer) for name, fewer in _COARSER.items()),
    Part("no feedback", {"feedback": False}),
    Part("no basis of tables", {"basis": False}),
    Part("no U_jj: one step for all columns", {"steps_by_column": False}),
    Part("G diagonal: no feedback from row to row", {"full_rows": False}),
    Part("G one number a matrix", change=one_number),
    Part("no G", change=no_gradients),
    Part("scalar instead of trellis", {"trellis": False}),
    *(Part(f"lambda {lam:g}", {"lam": lam}) for lam in (0.0, 0.1, 0.25)),
    *(Part(f"damping {damping:g}", {"damping": damping}) for damping in (0.01, 0.03, 0.1, 0.3, 1)),
    Part("no bias correction", change=no_bias),
    Part("sequential", sequential=True),
    Part("finishing", finish=True),
    Part("sequential and finishing", sequential=True, finish=True),
)


def _mean(form: Array) -> float:
    return float((form if form.ndim == 1 else np.diagonal(form, axis1=-2, axis2=-1)).mean())


class Bench:
    """A subject with its curvature; `made` compresses and judges it."""

    def __init__(self, judged: Subject, threads: int) -> None:
        self.judged, self.threads = judged, threads
        self.model: LoadedModel = open_model(judged.module())
        self.source: Source = open_source(self.model.source)
        self.calibration: Calibration = open_calibration(list(judged.calibration), self.model)
        lossless = {info.name: Scheme() for info in self.source.infos}
        self.schemes = lossy_schemes(self.source, lossless)
        self.lam: float | None = None
        self.curvature: dict[str, Curvature] = {}

    def made(self, part: Part, bits: float) -> dict[str, object] | None:
        """Measure a part; None where this version has no such choice."""
        start = time.perf_counter()
        request = self._request(part, bits)
        if request is None:
            return None
        origin = origin_of(self.source)
        record = Once(self.curvature, self.source, part.change)
        work = Work(
            source=self.source,
            schemes=self.schemes,
            model=self.model,
            calibration=self.calibration,
            request=request,
            origin=origin,
        )
        ready = calibrate(work, record)
        values = written_values(
            ready.source, self.schemes, ready.quantize, changed=self.judged.weights
        )
        if part.name == _ALL:
            self.lam = ready.quantize.lam  # chosen on batches set aside; the others take it over
        return {
            "subject": self.judged.name,
            "part": part.name,
            "lambda": ready.quantize.lam,
            "damping": ready.quantize.damping,
            "bits": 8 * ready.size / self.judged.parameters,
            **self.judged.fidelity(self._weights(values)),
            "seconds": time.perf_counter() - start,
        }

    def _request(self, part: Part, bits: float) -> Request | None:
        asked = bits - part.fewer
        target = parse_target(
            bits=asked, size=None, original=self.source.nbytes, parameters=self.judged.parameters
        )
        known = {one.name for one in dataclasses.fields(Request)}
        optional = {one.name for one in dataclasses.fields(Options)}
        options: dict[str, Any] = {"lam": self.lam, **part.options}
        more: dict[str, Any] = {}
        if "sequential" in optional:
            options["sequential"] = part.sequential
        elif "sequential" in known:
            more["sequential"] = part.sequential
        elif part.sequential:
            return None
        return Request(
            target=target,
            finish=part.finish,
            threads=self.threads,
            options=Options(**options),
            **more,
        )

    def _weights(self, values: Mapping[str, Array]) -> dict[str, Array]:
        stored = {name: self.source.aliases.get(name, name) for name in self.judged.weights}
        return {
            name: values[stored[name]].astype(np.float32) if stored[name] in values else original
            for name, original in self.judged.weights.items()
        }


def with_worth(rows: Sequence[Mapping[str, Any]], loss: str) -> list[dict[str, Any]]:
    """Add each part's worth to the rows of a subject, if there are two points to draw a line by."""
    whole = [row for row in rows if row["part"] in (_ALL, *_COARSER)]
    if len(whole) < 2:
        return [dict(row) for row in rows]
    heights = [math.log2(row[loss]) for row in whole]
    rise, start = np.polyfit(heights, [row["bits"] for row in whole], 1).tolist()
    return [
        {
            **row,
            "worth": row["bits"] - (start + rise * math.log2(max(row[loss], 1e-9))),
            "octaves a bit": -1 / rise,
        }
        for row in rows
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts, print a table a subject, write `bench/results/NAME.json`."""
    arguments = command_line().parse_args(argv)
    path = report.RESULTS / f"{arguments.name}.json"
    kept: list[dict[str, Any]] = []
    if (arguments.update or arguments.show) and path.is_file():
        kept = json.loads(path.read_text())["rows"]
    for name in arguments.subject:
        judged = subject(name)
        if not arguments.show:
            bits = arguments.bits or _BITS[name]
            for row in _measured(judged, bits, arguments, kept):
                same = [r["subject"] == name and r["part"] == row["part"] for r in kept]
                kept = [r for r, again in zip(kept, same, strict=True) if not again] + [row]
                mine = [r for r in kept if r["subject"] == name]
                kept = [r for r in kept if r["subject"] != name] + with_worth(mine, judged.loss)
                report.save(arguments.name, kept)
        order = [part.name for part in PARTS]
        mine = sorted(
            (r for r in kept if r["subject"] == name), key=lambda row: order.index(row["part"])
        )
        print(f"\n### {name}: {judged.about}\n")
        print(report.table(_COLUMNS | dict(judged.measures) | {"seconds": "seconds"}, mine))
    print(report.footer())


def _measured(
    judged: Subject, bits: float, arguments: argparse.Namespace, kept: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, object]]:
    bench = Bench(judged, arguments.threads)
    before = [r for r in kept if r["subject"] == judged.name and r["part"] == _ALL]
    bench.lam = before[0]["lambda"] if before else None
    for part in PARTS:
        if arguments.parts and not any(wanted in part.name for wanted in arguments.parts):
            continue
        if part.name == _ALL:
            bench.lam = None
        try:
            row = bench.made(part, bits)
        except TautError as error:
            report.say(f"{judged.name}: {part.name}: {error}")
            continue
        if row is not None:
            report.say(f"{judged.name}: {part.name}: {row[judged.loss]:.4g}")
            yield row


def command_line() -> argparse.ArgumentParser:
    """Return the parser of what is typed behind the script's name."""
    parser = argparse.ArgumentParser(description="The calibrated method without each of its parts.")
    parser.add_argument("--subject", nargs="+", choices=list(_BITS), default=list(_BITS))
    parser.add_argument("--parts", nargs="+", default=[], help="parts whose names hold these")
    parser.add_argument("--bits", type=float, help="a parameter; by default a subject's own")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--update", action="store_true", help="keep the other rows of the file")
    parser.add_argument("--show", action="store_true", help="print what the file holds")
    parser.add_argument("--name", default="ablation", help="of the file in bench/results")
    return parser


if __name__ == "__main__":
    main()
