"""The loss of a changed network on calibration batches that are set aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from taut.calibration.rounded_network import RoundedNetwork
from taut.networks.graph_batches import is_fixed
from taut.networks.output_kind import OutputRole, output_roles
from taut.networks.portions import hold, split
from taut.transform.finish import Judging
from taut.transform.judge import Judge

if TYPE_CHECKING:
    import torch

    from taut.networks import Calibration

_NAMED: Final = 8  # outputs in a note


class Held:
    """Batches to judge `student` by, beside `teacher`: a tenth, the same for the same seed.

    `others` are the rest, `kind` and `beside` (together `kinds`) say what the original's main
    output is, and what the others are by their places. No form is estimated from those that judge:
    they would flatter it.
    """

    def __init__(
        self,
        student: RoundedNetwork,
        teacher: torch.nn.Module,
        calibration: Calibration,
        seed: int,
        said: Mapping[str, str] | None = None,
    ) -> None:
        whole = is_fixed(getattr(teacher, "input_shapes", {}))
        self.batches, self.note = hold(lambda: calibration, teacher, cut=not whole)
        others, self.judges = split(self.batches, seed)
        self.others = self.batches.of(others)
        roles = output_roles(teacher, self.batches, said)
        self.kinds = {place: one.kind for place, one in roles.items()}
        (_, self.kind), *beside = self.kinds.items()
        self.beside = dict(beside)
        self._student, self._teacher = student, teacher
        self._judge: Judging | None = None
        taken = _taken(roles) if self.judges else ""
        self.note = "; ".join(filter(None, (self.note, taken)))

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


def _taken(roles: Mapping[str, OutputRole]) -> str:
    """`the output is taken for logits: ...`; of several, what each is taken for, in its order."""
    if len(roles) == 1:
        (one,) = roles.values()
        return f"the output is taken for {_words(one)}"
    told = [f"{place or 'the main one'}: {_words(one)}" for place, one in roles.items()]
    more = f" and {len(roles) - _NAMED} more" if len(roles) > _NAMED else ""
    return f"{len(roles)} outputs, each counts as much: {'; '.join(told[:_NAMED])}{more}"


def _words(role: OutputRole) -> str:
    kind = "logits" if role.kind == "last" else role.kind
    return f"{kind} ({role.why})"
