"""The files of a sweep, made and judged one after another; finished ones are kept."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from taut.coding import Effort
from taut.compression.compress import Result, compress
from taut.container.info import bits_per_value
from taut.errors import ArgumentError, TargetError
from taut.io import Source
from taut.io.source import parameters_of
from taut.networks import CalibrationSpec
from taut.progress import Progress
from taut.scoring.criteria import Yardstick
from taut.scoring.results import Metric
from taut.sweep.pareto import Missed, Point
from taut.sweep.points import Setting, matrices_of, uniform_plan
from taut.sweep.saved import Points

if TYPE_CHECKING:
    from taut.networks.outputs import Loss
    from taut.networks.sources import Model


_NEAR: Final = 1e-4  # scores of one model on two days, relative or absolute


@dataclass(frozen=True)
class Ways:
    """How every file is made: arguments of `compress`."""

    calib: CalibrationSpec | None
    loss: Loss | None
    finish: bool | None
    seed: int | None
    effort: Effort | None
    threads: int
    resume: bool


class Sweep:
    """Makes and judges one file after another."""

    def __init__(
        self,
        source: Source,
        model: Model,
        yardstick: Yardstick,
        ways: Ways,
        folder: Path,
        keeps: bool,
        found: Points,
        progress: Progress | None,
    ) -> None:
        self.source, self.model, self.yardstick, self.ways = source, model, yardstick, ways
        self.folder, self.keeps, self.found, self.progress = folder, keeps, found, progress
        self.matrices = matrices_of(source)
        self.notes: list[str] = []

    def original(self) -> Point:
        """The model as it is; judged anew each time, for a score may remember its first call.

        Raises:
            ArgumentError: earlier points were judged otherwise: it has another score now.
        """
        size = self.source.nbytes
        bits = bits_per_value(size, parameters_of(self.source))
        point = Point("original", "original", size, bits, 1.0, self.yardstick.original())
        before = self.found.get("original")
        if isinstance(before, Point):
            _check_same(before.score, point.score)
        else:
            self.found.put(point)
        return point

    def run(self, settings: Sequence[Setting], original: Point) -> tuple[list[Point], list[Missed]]:
        """All settings, in their order: those that became points, and those that did not."""
        made: list[Point] = []
        missed: list[Missed] = []
        for number, setting in enumerate(settings):
            if setting.scheme is not None:
                note = uniform_plan(self.matrices, setting.scheme)[1]
                self.notes += [note] if note else []
            if self.progress:
                self.progress(f"point {setting.name}", number, len(settings))
            one = self._one(setting, original)
            if isinstance(one, Point):
                made.append(one)
            else:
                missed.append(one)
        if self.progress:
            self.progress("point", len(settings), len(settings))
        return made, missed

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
        ways, plan = self.ways, None
        if setting.scheme is not None:
            plan, _ = uniform_plan(self.matrices, setting.scheme)
        calibrated = ways.calib is not None and setting.calibrated
        result = compress(
            self.model,
            path,
            bits=setting.bits,
            size=setting.size,
            plan=plan,
            calib=ways.calib if calibrated else None,
            loss=ways.loss if calibrated else None,
            finish=ways.finish if calibrated else None,
            seed=ways.seed,
            effort=ways.effort,
            threads=ways.threads,
            resume=ways.resume,
            force=True,
            progress=self.progress if calibrated else None,
        )
        return result


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
        *(setting.name, setting.kind, result.size, result.bits, result.ratio, metrics),
        drop=drop,
        asked=setting.bits,
        seconds=seconds,
        notes=result.notes,
    )
