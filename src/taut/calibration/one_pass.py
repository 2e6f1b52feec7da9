"""A model rounded in one pass: block after block, the dial set right on the way.

What enters a block of the compressed model is carried along from the block before. One run of the
block as it is gives the forms of these inputs, its matrices are rounded by them, and one run of the
block as it is rounded gives what enters the next. So the whole model runs forward twice, however
many blocks it has. Every block is a piece of the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from taut.analysis import Curvature
from taut.analysis.layer_inputs import inputs_of
from taut.calibration.biases import corrected_biases
from taut.calibration.carried import Carried
from taut.calibration.compressed_chain import CompressedChain
from taut.calibration.control import DialControl, RateCurves
from taut.calibration.findings import dial_text
from taut.calibration.finishing import bias_tensors
from taut.calibration.rounder import Way
from taut.calibration.sequence import enough, seen, share_of
from taut.calibration.start import Started
from taut.machine import trim_heap
from taut.machine.closing import Closing
from taut.networks.chain import Entered
from taut.planning import Target
from taut.planning.target import TOLERANCE
from taut.progress import report_bytes
from taut.transform import Rounded

if TYPE_CHECKING:
    import torch

AIM: Final = 0.9985  # of the target: tables are estimated to a few thousandths
_CLOSE: Final = 0.997  # of what the file may have: nearer is not tried for
UNTUNED: Final = 0.9995  # of the target: vectors that are tuned later may take a little more
_POSITIONS: Final = 12  # for each input of a block of a large network
_LANDINGS: Final = 6  # times that the last block is rounded for the size

BLOCKWISE: Final = "block after block, each on what the compressed ones before it give"

Exact = Callable[[float], int]


@dataclass(frozen=True)
class Share:
    """Matrices that are rounded together: those of a block, or (None) those outside of all."""

    block: int | None
    names: tuple[str, ...]


def in_one_pass(
    started: Started,
    compressed: CompressedChain,
    target: Target,
    exact: Exact,
    *,
    room: float,
    first: float,
    key: str,
    most: int,
) -> float | None:
    """Round all matrices under the dial once, for a size; the rounder then has them.

    `room` is what they may take of the target, and `first` a dial to begin at. `exact(dial)` is
    the size of the file once all is rounded, the last of it at this dial: that is rounded anew
    until the size is at `most` so many bytes, and hardly less. Gives that dial; None where that
    cannot be. `key` names the pass among others of the run.
    """
    rounder, shares = started.rounder, shares_of(started, compressed)
    counts = {name: rounder.matrices[name].count for one in shares for name in one.names}
    curves = RateCurves(rounder.estimates)
    control = DialControl(curves, counts, room=room, first=first)
    progress = started.work.progress or (lambda *_: None)
    fixed = AIM * target.nbytes - room
    *before, last = shares

    def told(dial: float) -> int:
        size = exact(dial)
        report_bytes(progress, size, target.nbytes)
        return size

    with BlockWalk(started, compressed, key) as walk:
        for number, share in enumerate(before, 1):
            found = walk.rounded(share, control.dial)
            trim_heap()
            control.took(share.names, rounder.size_of(found), last=number == len(before))
            report_bytes(progress, round(control.spent + fixed), target.nbytes)
            progress("sequence", number, len(shares))
        dial = _landed(walk, last, control, most, told)
    progress("sequence", len(shares), len(shares))
    return dial


def in_chain(started: Started, compressed: CompressedChain, *, key: str = "") -> Way:
    """What rounds all matrices under the dial, block after block, at one dial.

    With a `key`, which names it among others of the run, every block is a piece of the record.
    """
    shares = shares_of(started, compressed)

    def way(dial: float) -> dict[str, Rounded]:
        found: dict[str, Rounded] = {}
        with BlockWalk(started, compressed, key) as walk:
            for number, share in enumerate(shares, 1):
                found |= walk.rounded(share, dial)
                if started.work.progress:
                    started.work.progress("sequence", number, len(shares))
        return found

    return way


def _landed(
    walk: BlockWalk, share: Share, control: DialControl, most: int, exact: Exact
) -> float | None:
    """Round the last block until the file has hardly less than `most` bytes; keeps the best."""
    rounder, best = walk.rounder, None
    best_size, dial = 0, control.dial
    for _ in range(_LANDINGS):
        found = walk.rounded(share, dial)
        rounder.adopt(found, dial)
        size = exact(dial)
        if best_size < size <= most:
            best, best_size = (dial, found), size
        if _CLOSE * most <= size <= most:
            break
        taken = rounder.size_of(found)
        dial = control.again(share.names, taken, taken + AIM * most - size)
    if best is None or best_size < TOLERANCE * most:
        return None
    dial, found = best
    rounder.adopt(found, dial)
    return dial


def shares_of(started: Started, compressed: CompressedChain) -> list[Share]:
    """All matrices under the dial: what lies outside of blocks, and then block after block."""
    dialled = [n for n, m in started.rounder.matrices.items() if m.scheme.bits is None]
    places: dict[int | None, list[str]] = {}
    for name in dialled:
        places.setdefault(compressed.place(name), []).append(name)
    outside = places.pop(None, [])
    inside = [Share(at, tuple(names)) for at, names in sorted(places.items())]
    return ([Share(None, tuple(outside))] if outside else []) + inside


class BlockWalk(Closing):
    """Goes from block to block, and rounds each on what the compressed ones before it give."""

    def __init__(self, started: Started, compressed: CompressedChain, key: str) -> None:
        self.rounder = started.rounder
        self._started, self._compressed, self._key = started, compressed, key
        known = [
            matrix.curvature
            for name, matrix in self.rounder.matrices.items()
            if compressed.place(name) is not None
        ]
        self._batches: Sequence[object] = (
            enough(started.held.others, known)
            if started.compressed is None
            else enough(started.held.others, known, _POSITIONS)
        )
        self._share = share_of(self._batches, started.held.others)
        self._carried: Carried | None = None
        self._entered: list[tuple[object, Entered]] = []  # each piece of a batch, what goes beside
        self._at = 0  # the block whose inputs are carried
        self._forms: tuple[Share | None, Mapping[str, Curvature]] = (None, {})
        self._open = ExitStack()
        self._tensors = bias_tensors(started)
        compressed.biases.clear()

    def rounded(self, share: Share, dial: float) -> dict[str, Rounded]:
        """The matrices of the next block, or of the last one anew, at a dial."""

        def made() -> dict[str, Rounded]:
            return self.rounder.rounded(share.names, dial, self._seen(share))

        key = f"{self._key}/{share.block}/{dial_text(dial)}"
        found = self._started.record.block(key, made) if self._key else made()
        found = self.rounder.keep(found)
        work = self._started.work
        self._compressed.biases |= corrected_biases(
            self.rounder, work.source, work.schemes, self._tensors, share.names
        )
        return found

    def close(self) -> None:
        """Give the network its own values again."""
        self._open.close()
        self._compressed.biases.clear()

    def _seen(self, share: Share) -> Mapping[str, Curvature]:
        """The curvature of a block's matrices with the inputs that the compressed model has."""
        if share.block is None:
            return {}
        if self._forms[0] != share:
            self._reach(share.block)
            self._forms = share, self._made(share, share.block)
        return self._forms[1]

    def _made(self, share: Share, block: int) -> dict[str, Curvature]:
        names = self._started.work.model.names
        parameters = self._compressed.tensors
        wanted = {name: parameters[names[name]] for name in share.names}
        with self._compressed.given(block):
            met = inputs_of(wanted, self._runs(block), self._started.work.request.scratch)
        trim_heap()
        matrices = self.rounder.matrices
        new = {
            name: seen(matrices[name].curvature, met.get(name), self._share) for name in share.names
        }
        return {name: one for name, one in new.items() if one is not None}

    def _runs(self, block: int) -> Iterator[tuple[object, Callable[[], object]]]:
        chain = self._compressed.chain
        assert self._carried is not None
        for number, (piece, entered) in enumerate(self._entered):
            hidden = self._compressed.moved(self._carried[number])
            yield piece, partial(chain.run, block, entered, hidden)

    def _reach(self, block: int) -> None:
        """Carry the hidden states to where they enter a block."""
        import torch

        if self._carried is None:
            self._open.enter_context(self._compressed.open())
            self._carried = self._front()
        while self._at < block:
            with torch.no_grad(), self._compressed.block(self._at):
                self._carried.advance(self._through)
            self._at += 1

    def _through(self, number: int, hidden: torch.Tensor) -> torch.Tensor:
        """What a batch's hidden state is after the block that it enters."""
        hidden = self._compressed.moved(hidden)
        return self._compressed.chain.run(self._at, self._entered[number][1], hidden)

    def _front(self) -> Carried:
        import torch

        carried = Carried(folder=self._started.work.request.scratch)
        for number, batch in enumerate(self._batches, 1):
            where = f"calibration batch {number}"
            for piece in self._compressed.pieces(batch, where):
                with torch.no_grad():
                    entered = self._compressed.enter(piece, where)
                carried[len(carried)] = entered.hidden
                self._entered.append((piece, replace(entered, hidden=torch.empty(0))))
        return carried
