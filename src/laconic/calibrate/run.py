"""Calibrated compression up to the writing: curvature, the dial, finishing touches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from laconic.analyze import Curvature, collect
from laconic.analyze.outputs import output_kind
from laconic.calibrate.held import Held
from laconic.calibrate.overlay import Overlay
from laconic.calibrate.rounder import Options, Rounder
from laconic.calibrate.search import MOST_EVALUATIONS, Allowed, Try, search_dial
from laconic.calibrate.student import Student
from laconic.coding import Effort
from laconic.container import Origin
from laconic.errors import ArgumentError, TargetError
from laconic.fill import Progress, predict_size
from laconic.inputs import Calibration, LoadedModel
from laconic.io import Source, TensorInfo
from laconic.io.dtypes import SAFETENSORS_DTYPES
from laconic.plan import Target, meet_target
from laconic.scheme import Scheme

if TYPE_CHECKING:
    import torch

    Loss = Callable[[object, object], torch.Tensor]

_FIRST_BITS = 2.5  # where a search by score begins
_LAMBDAS = (0.0, 0.1, 0.25)
_LOSS_PER_BIT = 2.5  # octaves that the loss falls by with a bit more; 2 at high rates
_SEARCHES = 8  # evaluations before the finishing touches; the others judge these
_STRETCHES = (0.25, 0.12)  # octaves that the finishing touches may win back
_ZERO = 2.0**40  # a dial that leaves no index


@dataclass(frozen=True)
class Request:
    """What is asked for: a size, a score, or both; and how the work is to be done."""

    target: Target | None
    allowed: Allowed | None = None
    evaluate: Callable[[torch.nn.Module], float] | None = None
    loss: Loss | None = None
    finish: bool = True
    effort: Effort = "max"
    threads: int = 1
    seed: int = 0
    gains: Mapping[str, float] = field(default_factory=dict)
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Ready:
    """What is to be written: `source` with `quantize`; `tries` are the scores that were taken."""

    source: Source
    quantize: Rounder
    tries: tuple[Try, ...] = ()
    original_score: float | None = None
    score: float | None = None
    notes: tuple[str, ...] = ()


class Run:
    """The steps of one calibrated compression, which share model, data and what was found."""

    def __init__(
        self,
        source: Source,
        schemes: Mapping[str, Scheme],
        model: LoadedModel,
        calibration: Calibration,
        request: Request,
        origin: Origin,
        progress: Progress | None = None,
    ) -> None:
        self.source, self.schemes, self.model = source, schemes, model
        self.calibration, self.request, self.origin = calibration, request, origin
        self.progress = progress
        self.vectors: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self.student = Student(model)
        self._chosen = False
        self.rounder = Rounder(
            source,
            schemes,
            self._curvature(),
            gains=request.gains,
            effort=request.effort,
            threads=request.threads,
            options=request.options,
        )

    def _curvature(self) -> dict[str, Curvature]:
        """By the tensors' names, of those that are rounded."""
        names = {
            tensor: parameter
            for tensor, parameter in self.model.names.items()
            if tensor in self.schemes and self.schemes[tensor].kind == "rd"
        }
        found = collect(
            self.model.module,
            lambda: self.calibration,
            loss=self.request.loss,
            seed=self.request.seed,
            names=set(names.values()),
            progress=self.progress,
        )
        curvature = {tensor: found[parameter] for tensor, parameter in names.items()}
        for info in self.source.infos:
            if self.schemes.get(info.name) == Scheme("rd") and info.name not in curvature:
                self.notes.append(f"{info.name}: not in the network that ran; rounded by its scale")
        for tensor, one in curvature.items():
            self.notes += [f"{tensor}: {note}" for note in one.notes]
        return curvature

    def _choose_lambda(self, dial: float) -> None:
        """Take the lambda at which as many bytes serve batches set aside best.

        What rounding by rate gives at a layer's output it may take at the network's: it draws
        weights toward zero, all in the same direction. How the two weigh differs by network and
        rate (docs/method.md).
        """
        rounder, held = self.rounder, Held(self.student.module, self.model.module, self.calibration)
        if not held.judges:
            return
        wanted = rounder.estimate(dial)
        best: tuple[float, float] | None = None
        for number, lam in enumerate(_LAMBDAS, 1):
            rounder.lam = lam
            at = rounder.dial_for(wanted, dial)
            rounder.turn(at)
            self.student.load(self.values())
            bits = 8 * rounder.nbytes / max(1, rounder.weights)
            loss = math.log2(max(held.mean(), 1e-30)) / _LOSS_PER_BIT + bits
            if best is None or loss < best[0]:
                best = loss, lam
            if self.progress:
                self.progress("lambda", number, len(_LAMBDAS))
        if best is not None:
            rounder.lam = best[1]
            self.notes.append(f"lambda {best[1]:g}: chosen on batches set aside")

    def ready(self) -> Ready:
        """Find the dial and finish.

        Raises:
            TargetError: the size or the score cannot be met.
        """
        if self.request.allowed is not None:
            return self._to_score(self.request.allowed)
        if self.request.target is None:
            raise ArgumentError("a calibrated compression wants bits, size or max_drop")
        self._to_size(self.request.target)
        self._correct_biases()
        if self.request.finish:
            self._finish()
            if self._size() > self.request.target.nbytes:  # the vectors take a little more now
                self._to_size(self.request.target)
        self.rounder.size = self._size()
        return self._done()

    def _done(self, tries: list[Try] | None = None, original: float | None = None) -> Ready:
        return Ready(
            self._overlay(),
            self.rounder,
            tuple(tries or ()),
            original,
            tries[-1].score if tries else None,
            tuple(self.notes),
        )

    def _overlay(self) -> Source:
        return Overlay(self.source, self.vectors) if self.vectors else self.source

    def _size(self) -> int:
        return predict_size(
            self._overlay(),
            self.schemes,
            effort=self.request.effort,
            threads=self.request.threads,
            quantize=self.rounder,
            origin=self.origin,
        )

    def _to_size(self, target: Target) -> None:
        rounder = self.rounder
        fixed = self._fixed()

        def exact(dial: float) -> int:
            rounder.turn(min(dial, _ZERO), self.progress)
            return self._size()

        def estimate(dial: float) -> float:
            return fixed + rounder.estimate(min(dial, _ZERO))

        weights = max(1, rounder.weights)
        first = rounder.first_dial(8 * max(0.0, target.nbytes - fixed) / weights)
        if not self._chosen and self.request.options.lam is None:
            self._choose_lambda(rounder.dial_for(target.nbytes - fixed, first))
        self._chosen = True
        found = meet_target(target, exact, estimate, weights=weights, first=first)
        rounder.turn(found.dial, self.progress)

    def _fixed(self) -> float:
        """Bytes of all that does not hang on the dial."""
        exact = {
            name: Scheme() if scheme.kind == "rd" and scheme.bits is None else scheme
            for name, scheme in self.schemes.items()
        }
        rest = {name for name, scheme in self.schemes.items() if exact[name] == scheme}
        return float(
            predict_size(
                _Part(self._overlay(), rest),
                exact,
                effort=self.request.effort,
                threads=self.request.threads,
                quantize=self.rounder,
                origin=self.origin,
            )
        )

    def values(self) -> dict[str, np.ndarray]:
        """What the file will decode to, of all tensors that differ from the source."""
        found: dict[str, np.ndarray] = {}
        for info in self.source.infos:
            scheme = self.schemes.get(info.name)
            if scheme is None:
                continue
            if scheme.kind == "rd":
                found[info.name] = _as_stored(info, self.rounder.found[info.name].decoded)
            elif scheme.kind == "fp16":
                values = self._overlay().load(info.name)
                found[info.name] = _as_stored(info, values.astype(np.float16))
        return found

    def _score(self, dial: float) -> float:
        self.rounder.turn(dial, self.progress)
        self.student.load(self.values())
        return self._judge(self.student.module)

    def _judge(self, module: torch.nn.Module) -> float:
        evaluate = self.request.evaluate
        if evaluate is None:
            raise ArgumentError("max_drop: give the score to keep, as evaluate (or --eval)")
        return scored(evaluate, module)

    def _to_score(self, allowed: Allowed) -> Ready:
        """The coarsest steps whose score is allowed; finishing may allow coarser ones."""
        original = self._judge(self.model.module)
        tries: list[Try] = []

        def report(one: Try) -> None:
            tries.append(one)
            if self.progress:
                self.progress(f"score {one.score:.6g}", len(tries), MOST_EVALUATIONS)

        first = self.rounder.first_dial(_FIRST_BITS)
        if self.request.options.lam is None:
            self._choose_lambda(first)
        limit = _SEARCHES if self.request.finish else MOST_EVALUATIONS - 1
        dial, _ = search_dial(
            self._score, original, allowed, first, evaluations=limit, report=report
        )
        least = allowed.least(original)
        if self.request.finish:
            for octaves in _STRETCHES:
                score = self._finished_score(dial * 2.0**octaves)
                report(Try(dial * 2.0**octaves, score))
                if score >= least:
                    break
            else:
                self.vectors = {}
                self.rounder.turn(dial, self.progress)
                tries.append(next(t for t in reversed(tries) if t.dial == dial))
        else:
            self.rounder.turn(dial, self.progress)
            tries.append(next(t for t in reversed(tries) if t.dial == dial))
        self.rounder.size = self._size()
        target = self.request.target
        if target is not None and self.rounder.size > target.nbytes:
            raise TargetError(
                f"{target.text} ({target.nbytes:,} bytes) and max_drop {allowed.text} cannot both "
                f"be met: at that score the file has {self.rounder.size:,} bytes",
                best=tries[-1],
            )
        return self._done(tries, original)

    def _finished_score(self, dial: float) -> float:
        self.vectors = {}
        self.rounder.turn(dial, self.progress)
        self._finish()
        self.student.load(self.values())
        return self._judge(self.student.module)

    def _correct_biases(self) -> None:
        """Give each bias what the error of its layer takes from the mean output: (W - V) E[x]."""
        tensors = {parameter: tensor for tensor, parameter in self.model.names.items()}
        infos = {info.name: info for info in self.source.infos}
        self.vectors = {}
        for name, matrix in self.rounder.matrices.items():
            one = matrix.curvature
            bias = None if one is None or one.bias is None else tensors.get(one.bias)
            if one is None or one.mean_input is None or bias is None:
                continue
            rounded = self.rounder.found[name].decoded
            error = self.source.load(name).reshape(rounded.shape) - rounded
            if one.mean_input.size != error.shape[1] or infos[bias].shape != (len(error),):
                continue
            given = self.source.load(bias).astype(np.float64)
            if self.schemes[bias].kind in ("fp16", "lossless"):
                self.vectors[bias] = _as_stored(infos[bias], given + error @ one.mean_input)

    def _finish(self) -> None:
        """Tune what is no matrix until the outputs are the original's."""
        from laconic.transform.finish import finish

        self._correct_biases()
        self.student.load(self.values())
        free = [
            name
            for name, scheme in self.schemes.items()
            if scheme.kind == "fp16" and name not in self.source.aliases
        ]
        names = self.student.parameters_of(free)
        if not names:
            return
        found = finish(
            self.student.module,
            self.model.module,
            lambda: self.calibration,
            list(names),
            kind=output_kind(self.model.module, next(iter(self.calibration))),
            seed=self.request.seed,
            progress=self.progress,
        )
        if found.note:
            self.notes.append(f"finishing: {found.note}")
        infos = {info.name: info for info in self.source.infos}
        self.vectors |= {
            names[parameter]: _as_stored(infos[names[parameter]], values)
            for parameter, values in found.values.items()
        }


class _Part(Overlay):
    """Some of a source's tensors."""

    def __init__(self, source: Source, names: set[str]) -> None:
        super().__init__(source, {})
        self._names = names

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """Those tensors alone, and what is tied to them."""
        return tuple(
            info
            for info in super().infos
            if super(_Part, self).aliases.get(info.name, info.name) in self._names
        )

    @property
    def aliases(self) -> dict[str, str]:
        """Ties between those tensors."""
        kept = {info.name for info in self.infos}
        return {name: to for name, to in super().aliases.items() if name in kept}


def _as_stored(info: TensorInfo, values: np.ndarray) -> np.ndarray:
    """Values in the tensor's dtype and shape."""
    dtype = SAFETENSORS_DTYPES[info.dtype]
    return np.ascontiguousarray(values.reshape(info.shape).astype(dtype))


def scored(evaluate: Callable[[torch.nn.Module], float], module: torch.nn.Module) -> float:
    """The user's score of a module, as a number.

    Raises ArgumentError for what is none: a text, NaN.
    """
    score = evaluate(module)
    try:
        number = float(score)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"evaluate: gave a {type(score).__name__}; it must give one number, higher is better"
        ) from None
    if not math.isfinite(number):
        raise ArgumentError(f"evaluate: gave {number}; it must give a finite number")
    return number
