"""The loss of a changed network on calibration batches that are set aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from taut.calibration.rounded_network import RoundedNetwork
from taut.networks.graph_batches import is_fixed
from taut.networks.output_kind import other_kinds, output_kind
from taut.networks.output_vectors import Kind
from taut.networks.portions import hold, split
from taut.transform.finish import Judging
from taut.transform.judge import Judge

if TYPE_CHECKING:
    import torch

    from taut.networks import Calibration

_NAMED: Final = 8  # outputs in a note


class Held:
    """Batches to judge `student` by, beside `teacher`: a tenth, the same for the same seed.

    `others` are the rest, `kind` and `beside` say what the original's main output is, and what the
    others are by their places. No form is estimated from those that judge: they would flatter it.
    """

    def __init__(
        self,
        student: RoundedNetwork,
        teacher: torch.nn.Module,
        calibration: Calibration,
        seed: int,
    ) -> None:
        whole = is_fixed(getattr(teacher, "input_shapes", {}))
        self.batches, self.note = hold(lambda: calibration, teacher, cut=not whole)
        others, self.judges = split(self.batches, seed)
        self.others = self.batches.of(others)
        self.kind = output_kind(teacher, self.batches[0])
        self.beside = other_kinds(teacher, self.batches[0])
        self._student, self._teacher = student, teacher
        self._judge: Judging | None = None
        if self.judges and self.beside:
            self.note = "; ".join(filter(None, (self.note, _counted(self.beside))))

    def judged_by(self, judge: Judging) -> None:
        """From now on another judge tells: of a network that is never whole."""
        self._judge = judge

    def mean(self) -> float:
        """The mean distance of the student's outputs from the teacher's."""
        if self._judge is None:
            self._judge = Judge(
                self._student.module,
                self._teacher,
                self.batches,
                self.judges,
                self.kind,
                None,
                self.beside,
            )
        return self._judge.mean()


def _counted(beside: Mapping[str, Kind]) -> str:
    """`2 outputs beside the main one count as much as it: box (features), cls (logits)`."""
    told = [f"{place} ({'features' if one == 'features' else 'logits'})"
            for place, one in [*beside.items()][:_NAMED]]  # fmt: skip
    more = f" and {len(beside) - _NAMED} more" if len(beside) > _NAMED else ""
    many = "1 output" if len(beside) == 1 else f"{len(beside)} outputs"
    each = "counts" if len(beside) == 1 else "count each"
    return f"{many} beside the main one {each} as much as it: {', '.join(told)}{more}"
