"""The files of a sweep, made and judged one after another; finished ones are kept."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from taut.analysis import Curvature
from taut.compression import Call, CompressRequest, Result, carry_out
from taut.container.info import bits_per_value
from taut.errors import ArgumentError, TargetError
from taut.io import Source, TensorInfo
from taut.io.source import parameters_of
from taut.scoring.criteria import Yardstick
from taut.scoring.results import Metric
from taut.sweep.pareto import Missed, Point
from taut.sweep.points import Setting, uniform_plan
from taut.sweep.request import SweepRequest
from taut.sweep.saved import Points

_NEAR: Final = 1e-4  # scores of one model on two days, relative or absolute


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Makes and judges one file after another, in `folder`; finished points are in `found`.

    `forms` is the curvature of matrices, which the first calibrated file collects for all others.
    """

    request: SweepRequest
    source: Source
    matrices: tuple[TensorInfo, ...]
    yardstick: Yardstick
    folder: Path
    found: Points
    forms: dict[str, Curvature | None] = field(default_factory=dict)

    def original(self) -> Point:
        """The model as it is; judged anew each time, for a score may remember its first call.

        Raises:
            ArgumentError: earlier points were judged otherwise: it has another score now.
        """
        size = self.source.nbytes
        bits = bits_per_value(size, parameters_of(self.source))
        point = Point(
            name="original",
            kind="original",
            size=size,
            bits=bits,
            ratio=1.0,
            metrics=self.yardstick.original(),
        )
        before = self.found.get("original")
        if isinstance(before, Point):
            _check_same(before.score, point.score)
        else:
            self.found.put(point)
        return point

    def run(self, original: Point) -> tuple[list[Point], list[Missed]]:
        """All settings, in their order: those that became points, and those that did not."""
        settings, progress = self.request.settings, self.request.progress
        made: list[Point] = []
        missed: list[Missed] = []
        for number, setting in enumerate(settings):
            if progress:
                progress(f"point {setting.name}", number, len(settings))
            one = self._one(setting, original)
            if isinstance(one, Point):
                made.append(one)
            else:
                missed.append(one)
        if progress:
            progress("point", len(settings), len(settings))
        return made, missed

    @property
    def keeps(self) -> bool:
        """Whether the files stay."""
        return self.request.out is not None

    def _one(self, setting: Setting, original: Point) -> Point | Missed:
        path = self.folder / setting.file_name
        before = self.found.get(setting.name)
        if isinstance(before, Missed) or (before is not None and self._there(path, before)):
            return before
        began = time.perf_counter()
        try:
            result = self._written(setting, path)
            metrics = self.yardstick.of(result)
        except TargetError as error:
            missed = Missed(setting.name, str(error))
            self.found.put(missed)
            return missed
        except ArgumentError as error:  # the score of this file, or a scheme that is not for it
            return Missed(setting.name, str(error))
        finally:
            if not self.keeps:
                path.unlink(missing_ok=True)
        point = _point(setting, result, metrics, original, time.perf_counter() - began)
        self.found.put(point)
        return point

    def _there(self, path: Path, point: Point) -> bool:
        """Whether a finished point's file is still there, if it is to be."""
        return not self.keeps or (path.is_file() and path.stat().st_size == point.size)

    def _written(self, setting: Setting, path: Path) -> Result:
        ways, plan = self.request.ways, None
        if setting.scheme is not None:
            plan, _ = uniform_plan(self.matrices, setting.scheme)
        calibrated = ways.calib is not None and setting.calibrated
        call = Call(
            bits=setting.bits,
            size=setting.size,
            plan=plan,
            calib=ways.calib if calibrated else None,
            loss=ways.loss if calibrated else None,
            output=ways.output if calibrated else None,
            outputs=ways.outputs if calibrated else None,
            finish=ways.finish if calibrated else None,
            seed=ways.seed,
            effort=ways.effort,
            threads=ways.threads,
            resume=ways.resume,
        )
        progress = self.request.progress if calibrated else None
        return carry_out(
            CompressRequest(
                src=self.request.model,
                dst=path,
                call=call,
                force=True,
                progress=progress,
                forms=self.forms,
            )
        )


def _check_same(before: Metric, now: Metric) -> None:
    near = math.isclose(before.value, now.value, rel_tol=_NEAR, abs_tol=_NEAR)
    if before.name != now.name or not near:
        raise ArgumentError(
            f"resume: the original's {before.name} was {before.value:.6g}, and its {now.name} is "
            f"{now.value:.6g} now, so that points would not compare; give -f (force=True) and no "
            "--resume to start afresh"
        )


def _point(
    setting: Setting,
    result: Result,
    metrics: tuple[Metric, ...],
    original: Point,
    seconds: float,
) -> Point:
    before, now = original.score, metrics[0]
    drop = before.value - now.value if now.better == "higher" else now.value - before.value
    return Point(
        name=setting.name,
        kind=setting.kind,
        size=result.size,
        bits=result.bits,
        ratio=result.ratio,
        metrics=metrics,
        drop=drop,
        asked=setting.bits,
        seconds=seconds,
        notes=result.notes,
    )
