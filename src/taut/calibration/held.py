"""The loss of a changed network on calibration batches that are set aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from taut.networks.graph_batches import is_fixed
from taut.networks.output_kind import other_kinds, output_kind
from taut.networks.output_vectors import Kind
from taut.networks.portions import hold, split
from taut.transform.judge import Judge

if TYPE_CHECKING:
    import torch

    from taut.networks import Calibration

_NAMED: Final = 8  # outputs in a note


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
            kind, beside = output_kind(teacher, held[0]), other_kinds(teacher, held[0])
            self._judge = Judge(student, teacher, held, self.judges, kind, None, beside)
            if beside:
                self.note = "; ".join(filter(None, (self.note, _counted(beside))))

    def mean(self) -> float:
        """The mean distance of the student's outputs from the teacher's."""
        return self._judge.mean()


def _counted(beside: Mapping[str, Kind]) -> str:
    """`2 outputs beside the main one count as much as it: box (features), cls (logits)`."""
    told = [f"{place} ({'features' if one == 'features' else 'logits'})"
            for place, one in [*beside.items()][:_NAMED]]  # fmt: skip
    more = f" and {len(beside) - _NAMED} more" if len(beside) > _NAMED else ""
    many = "1 output" if len(beside) == 1 else f"{len(beside)} outputs"
    each = "counts" if len(beside) == 1 else "count each"
    return f"{many} beside the main one {each} as much as it: {', '.join(told)}{more}"
