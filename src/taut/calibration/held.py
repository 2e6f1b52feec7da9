"""The loss of a changed network on calibration batches that are set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.networks.graph_batches import is_fixed
from taut.networks.output_kind import output_kind
from taut.networks.portions import hold, split
from taut.transform.judge import Judge

if TYPE_CHECKING:
    import torch

    from taut.networks import Calibration


class Held:
    """Batches to judge `student` by, beside `teacher`: a tenth, the same for the same seed.

    `others` are the rest. No form is estimated from those that judge: they would flatter it.
    """

    def __init__(
        self,
        student: torch.nn.Module,
        teacher: torch.nn.Module,
        calibration: Calibration,
        seed: int,
    ) -> None:
        whole = is_fixed(getattr(student, "input_shapes", {}))
        held, self.note = hold(lambda: calibration, teacher, cut=not whole)
        others, self.judges = split(held, seed)
        self.others = held.of(others)
        if self.judges:
            kind = output_kind(teacher, held[0])
            self._judge = Judge(student, teacher, held, self.judges, kind, None)

    def mean(self) -> float:
        """The mean distance of the student's outputs from the teacher's."""
        return self._judge.mean()
