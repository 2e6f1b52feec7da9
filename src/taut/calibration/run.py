"""Calibrated compression up to the writing: curvature, the dial, finishing touches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from taut.analysis import Curvature
from taut.calibration.biases import corrected_biases
from taut.calibration.collected import NO_GRADIENTS, curvature_of
from taut.calibration.findings import Findings, code_identity, dial_text
from taut.calibration.finishing import tuned_vectors
from taut.calibration.held import Held
from taut.calibration.overlay import Overlay, OverlayPart, as_stored, as_written, of_dtype
from taut.calibration.request import Ready, Request
from taut.calibration.rounded_network import RoundedNetwork
from taut.calibration.rounder import Rounder
from taut.calibration.search import MOST_EVALUATIONS, Try, search_dial
from taut.calibration.sequence import InSequence
from taut.container import Origin
from taut.encoding.data_free_rounder import sparse
from taut.encoding.model import predict_size
from taut.errors import ArgumentError, TargetError
from taut.io import Source
from taut.networks import Calibration, LoadedModel
from taut.planning import Target, meet_target
from taut.planning.max_drop import Allowed
from taut.progress import Progress
from taut.scheme import Scheme
from taut.scoring.user_score import scored
from taut.transform.runtime import GRIDS

if TYPE_CHECKING:
    import torch

    Loss = Callable[[object, object], torch.Tensor]

_FIRST_BITS = 2.5  # where a search by score begins
_LAMBDAS = (0.0, 0.1, 0.25)
_NUDGES = (-0.06, 0.06)  # octaves of the dial
_MANY = 1 << 22  # weights
_WORTH = 0.01  # bits a weight that going block after block must save: it takes time
_LOSS_PER_BIT = 2.5  # octaves that the loss falls by with a bit more; 2 at high rates
_SEARCHES = 8  # evaluations before the finishing touches; the others judge these
_STRETCHES = (0.25, 0.12)  # octaves that the finishing touches may win back
_ZERO = 2.0**40  # a dial that leaves no index


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
        record: Findings | None = None,
    ) -> None:
        self.source, self.schemes, self.model = source, schemes, model
        self.calibration, self.request, self.origin = calibration, request, origin
        self.progress, self.record = progress, record or Findings()
        self.tuned = math.nan  # the dial that `vectors` were made for
        self._touched: set[str] = set()
        self.vectors: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self.student = RoundedNetwork(model)
        self.held = Held(self.student.module, model.module, calibration, request.seed)
        self.notes += [f"calibration: {self.held.note}"] if self.held.note else []
        self._chosen = False
        if not model.gradients:
            self.notes.append(NO_GRADIENTS)
        self.rounder = Rounder(
            source,
            schemes,
            self._curvature(),
            gains=request.gains,
            effort=request.effort,
            threads=request.threads,
            options=request.options,
            record=self.record,
        )

    def _curvature(self) -> dict[str, Curvature]:
        """By the tensors' names, of those that are rounded."""
        known = self.model.module.named_parameters(remove_duplicate=False)
        matrices = {name for name, one in known if one.ndim >= 2 and one.is_floating_point()}
        rounded = {name for name, one in self.schemes.items() if one.kind in ("rd", *GRIDS)}
        names = {
            tensor: parameter
            for tensor, parameter in self.model.names.items()
            if tensor in rounded and parameter in matrices
        }

        def collected() -> dict[str, Curvature]:
            found = curvature_of(
                self.model,
                lambda: self.held.others,
                loss=self.request.loss,
                seed=self.request.seed,
                names=set(names.values()),
                progress=self.progress,
            )
            return {tensor: found[parameter] for tensor, parameter in names.items()}

        curvature = self.record.curvatures(names, collected)
        for info in self.source.infos:
            if self.schemes.get(info.name) == Scheme("rd") and info.name not in curvature:
                self.notes.append(f"{info.name}: no matrix of the network; rounded by its scale")
        for tensor, one in curvature.items():
            self.notes += [f"{tensor}: {note}" for note in one.notes]
        return curvature

    def _choose_lambda(self, dial: float) -> None:
        """Take the lambda at which as many bytes serve batches set aside best.

        What rounding by rate gives at a layer's output it may take at the network's: it draws
        weights toward zero, all in the same direction. How the two weigh differs by network and
        rate (docs/method.md).
        """
        rounder, held = self.rounder, self.held
        if not held.judges:
            return
        wanted = rounder.estimate(dial)
        best: tuple[float, float] | None = None
        for number, lam in enumerate(_LAMBDAS, 1):
            loss = self.record.number(
                f"lambda/{lam:g}/{dial_text(dial)}",
                lambda lam=lam: self._loss_at(lam, held, wanted, dial),  # type: ignore[misc]
            )
            if best is None or loss < best[0]:
                best = loss, lam
            if self.progress:
                self.progress("lambda", number, len(_LAMBDAS))
        if best is not None:
            rounder.lam = best[1]
            self.notes.append(f"lambda {best[1]:g}: chosen on batches set aside")

    def _loss_at(self, lam: float, held: Held, wanted: float, dial: float) -> float:
        """Octaves that are lost on batches set aside where the matrices take `wanted` bytes."""
        self.rounder.lam = lam
        at = self.rounder.dial_for(wanted, dial)
        # Of few weights one rounding's loss is a matter of chance; two are less of one.
        nudges = _NUDGES if self.rounder.weights < _MANY else (0.0,)
        losses = [self._loss_here(held, at * 2.0**nudge) for nudge in nudges]
        return sum(losses) / len(losses)

    def _loss_here(self, held: Held, dial: float) -> float:
        """The loss at a dial on batches set aside, as bits a weight beside those it takes."""
        rounder = self.rounder
        rounder.turn(dial, self.progress)
        self.student.load(self.values())
        bits = 8 * rounder.nbytes / max(1, rounder.weights)
        return math.log2(max(held.mean(), 1e-30)) / _LOSS_PER_BIT + bits

    def ready(self) -> Ready:
        """Find the dial and finish.

        Raises:
            TargetError: the size or the score cannot be met.
        """
        if self.request.allowed is not None:
            return self._to_score(self.request.allowed)
        target, dial = self.request.target, 1.0
        if target is not None:
            dial = self._to_size(target)
            if self._follow(dial):
                dial = self._to_size(target, dial)
        elif self.rounder.weights:
            raise ArgumentError("a calibrated compression wants bits, size or max_drop")
        original = None if self.request.evaluate is None else self._original_score()
        self._touch_up(dial)
        if target is not None and self._size(dial) > target.nbytes:
            dial = self._to_size(target, dial)  # the vectors take a little more now
        score = None if original is None else self._score(dial)
        return self._done(dial, (), original, score)

    def _done(
        self, dial: float, tries: Sequence[Try], original: float | None, score: float | None
    ) -> Ready:
        self.rounder.turn(dial, self.progress)
        self.rounder.size = self._size(dial)
        notes = tuple(self.notes)
        return Ready(
            self._overlay(), self.rounder, tuple(tries), original, score, notes, self.record
        )

    def _overlay(self) -> Source:
        return Overlay(self.source, self.vectors) if self.vectors else self.source

    def _size(self, dial: float) -> int:
        """Bytes of the file at a dial, with the vectors as they are."""

        def coded() -> int:
            self.rounder.turn(dial, self.progress)
            return self._predicted(self._overlay(), self.schemes)

        return int(
            self.record.number(
                f"size/{dial_text(dial)}/{dial_text(self.tuned)}/{self.rounder.follows:d}", coded
            )
        )

    def _predicted(self, source: Source, schemes: Mapping[str, Scheme]) -> int:
        return predict_size(
            source,
            schemes,
            effort=self.request.effort,
            threads=self.request.threads,
            quantize=self.rounder,
            origin=self.origin,
        )

    def _follow(self, dial: float) -> bool:
        """Round block after block from now on, if batches set aside are served better so."""
        way = InSequence(self.rounder, self.model, self.held.others, self.progress)
        if not self.request.sequential or len(way.blocks) < 2 or not self.held.judges:
            return False
        losses = []
        for one in (None, way):
            self.rounder.follow(one)
            key = f"sequence/{self.rounder.follows:d}/{dial_text(dial)}"
            losses.append(self.record.number(key, lambda: self._loss_here(self.held, dial)))
        if losses[1] >= losses[0] - _WORTH:
            self.rounder.follow(None)
            return False
        self.notes.append("block after block: better on batches set aside")
        return True

    def _to_size(self, target: Target, first: float | None = None) -> float:
        """The dial at which the file has the size; the search begins at `first`."""
        rounder = self.rounder
        fixed = self._fixed()

        def estimate(dial: float) -> float:
            return fixed + rounder.estimate(min(dial, _ZERO))

        weights = max(1, rounder.weights)
        first = first or rounder.first_dial(8 * max(0.0, target.nbytes - fixed) / weights)
        if not self._chosen and self.request.options.lam is None:
            self._choose_lambda(rounder.dial_for(target.nbytes - fixed, first))
        self._chosen = True
        found = meet_target(
            target, lambda d: self._size(min(d, _ZERO)), estimate, weights=weights, first=first
        )
        return min(found.dial, _ZERO)

    def _fixed(self) -> float:
        """Bytes of all that does not hang on the dial."""
        exact = {
            name: Scheme() if one.kind == "rd" and one.bits is None else one
            for name, one in self.schemes.items()
        }
        rest = {name for name, one in self.schemes.items() if exact[name] == one}
        self.rounder.round_own(self.progress)
        return float(self._predicted(OverlayPart(self._overlay(), rest), exact))

    def values(self) -> dict[str, np.ndarray]:
        """What the file will decode to, of all tensors that differ from the source."""
        found: dict[str, np.ndarray] = {}
        decoded = self.rounder.decoded(self.rounder.found)
        for info in self.source.infos:
            if (scheme := self.schemes.get(info.name)) is None:
                continue
            if scheme.kind == "rd":
                found[info.name] = as_stored(info, decoded[info.name])
            elif info.name in self.rounder.grids:
                found[info.name] = self.rounder.grids[info.name].values(of_dtype(info))
            elif scheme.kind == "fp16" or sparse(scheme):
                found[info.name] = as_written(info, self._overlay().load(info.name), scheme)
            elif info.name in self._touched:
                found[info.name] = self._overlay().load(info.name)
        return found

    def _original_score(self) -> float:
        return self.record.number(
            f"score/{self._judged_by}/original", lambda: self._judge(self.model.module)
        )

    def _score(self, dial: float, *, finished: bool = False) -> float:
        """The score at a dial, with the vectors as they are, or once they are finished for it."""

        def judged() -> float:
            if finished:
                self._touch_up(dial)
            self.rounder.turn(dial, self.progress)
            if math.isnan(self.tuned):
                self._correct_biases()
            self.student.load(self.values())
            return self._judge(self.student.module)

        tuned = dial if finished else self.tuned
        key = f"score/{self._judged_by}/{dial_text(dial)}/{dial_text(tuned)}"
        return self.record.number(key, judged)

    @property
    def _judged_by(self) -> str:
        return code_identity(self.request.evaluate)

    def _judge(self, module: torch.nn.Module) -> float:
        evaluate = self.request.evaluate
        if evaluate is None:
            raise ArgumentError("max_drop: give the score to keep, as evaluate (or --eval)")
        return scored(evaluate, module)

    def _to_score(self, allowed: Allowed) -> Ready:
        """The coarsest steps whose score is allowed; finishing may allow coarser ones."""
        original = self._original_score()
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
        chosen = next(one for one in reversed(tries) if one.dial == dial)
        if self.request.finish:
            self._follow(dial)
        for octaves in _STRETCHES if self.request.finish else ():
            at = dial * 2.0**octaves
            report(Try(at, self._score(at, finished=True)))
            if tries[-1].score >= allowed.least(original):
                chosen = tries[-1]
                self._touch_up(at)
                break
            self._leave_vectors()
        if math.isnan(self.tuned):
            self.rounder.follow(None)  # as it was when this dial was judged
            self.rounder.turn(dial, self.progress)
            self._correct_biases()
        ready = self._done(chosen.dial, tries, original, chosen.score)
        target = self.request.target
        if target is not None and (size := ready.quantize.size or 0) > target.nbytes:
            raise TargetError(
                f"{target.text} ({target.nbytes:,} bytes) and max_drop {allowed.text} cannot both "
                f"be met: at that score the file has {size:,} bytes",
                best=chosen,
            )
        return ready

    def _touch_up(self, dial: float) -> None:
        """Make vectors for the matrices of a dial: biases corrected, and tuned if asked."""
        if self.tuned == dial:
            return

        def made() -> tuple[dict[str, np.ndarray], str]:
            self.rounder.turn(dial, self.progress)
            self._correct_biases()
            return self.vectors, self._finish() if self.request.finish else ""

        self.vectors, note = self.record.vectors(dial, made)
        self.tuned = dial
        self._touched |= set(self.vectors)
        if note and note not in self.notes:
            self.notes.append(note)

    def _leave_vectors(self) -> None:
        self.vectors, self.tuned = {}, math.nan

    def _correct_biases(self) -> None:
        tensors = {parameter: tensor for tensor, parameter in self.model.names.items()}
        self.vectors = corrected_biases(self.rounder, self.source, self.schemes, tensors)
        self._touched |= set(self.vectors)

    def _finish(self) -> str:
        """Tune what is no matrix until the outputs are the original's; gives a note, or ""."""
        self.student.load(self.values())
        free = [
            name
            for name, scheme in self.schemes.items()
            if scheme == Scheme("fp16") and name not in self.source.aliases
        ]
        tuned, note = tuned_vectors(
            self.student,
            self.model.module,
            self.source,
            free,
            self.calibration,
            seed=self.request.seed,
            progress=self.progress,
        )
        self.vectors |= tuned
        return note
