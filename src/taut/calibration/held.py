"""The loss of a changed network on calibration batches that are set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.calibration.rounded_network import RoundedNetwork
from taut.networks.graph_batches import is_fixed
from taut.networks.output_kind import output_kind
from taut.networks.output_vectors import Kind
from taut.networks.portions import hold, split
from taut.transform.finish import Judging
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
        student: RoundedNetwork,
        teacher: torch.nn.Module,
        calibration: Calibration,
        seed: int,
    ) -> None:
        whole = is_fixed(getattr(teacher, "input_shapes", {}))
        self.batches, self.note = hold(lambda: calibration, teacher, cut=not whole)
        others, self.judges = split(self.batches, seed)
        self.others = self.batches.of(others)
        self._student, self._teacher = student, teacher
        self._judge: Judging | None = None

    @property
    def kind(self) -> Kind:
        """What the original's outputs are."""
        return output_kind(self._teacher, self.batches[0])

    def judged_by(self, judge: Judging) -> None:
        """From now on another judge tells: of a network that is never whole."""
        self._judge = judge

    def mean(self) -> float:
        """The mean distance of the student's outputs from the teacher's."""
        if self._judge is None:
            student, teacher = self._student.module, self._teacher
            self._judge = Judge(student, teacher, self.batches, self.judges, self.kind, None)
        return self._judge.mean()
