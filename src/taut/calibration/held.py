"""The loss of a changed network on calibration batches that are set aside."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from taut.calibration.rounded_network import RoundedNetwork
from taut.networks.chosen_outputs import OutputShares
from taut.networks.graph_batches import is_fixed
from taut.networks.output_kind import OutputRole
from taut.networks.output_roles import ALL_ALIKE, roles_and_idle
from taut.networks.portions import hold, split
from taut.transform.finish import Judging
from taut.transform.judge import Judge

if TYPE_CHECKING:
    import torch

    from taut.networks import Calibration

_NAMED: Final = 8  # outputs in a note
_TRACE: Final = 1e-4  # of what an output counts, for those that do not


class Held:
    """Batches to judge `student` by, beside `teacher`: a tenth, the same for the same seed.

    `others` are the rest, `kind` and `beside` (together `kinds`) say what the original's main
    output is, and what the others are by their places; `shares` what each counts, empty where all
    do alike. `roles` are those of the outputs that do not count, too. No form is estimated from
    those that judge: they would flatter it. Of `matrices`, the network's parameters that are
    rounded, one has to lead to an output that counts. `told`: the note says what outputs are taken
    for, which a loss of the caller's own does not ask.
    """

    def __init__(
        self,
        student: RoundedNetwork,
        teacher: torch.nn.Module,
        calibration: Calibration,
        seed: int,
        said: Mapping[str, str] | None = None,
        shares: OutputShares = ALL_ALIKE,
        matrices: Collection[str] = (),
        *,
        told: bool = True,
    ) -> None:
        whole = is_fixed(getattr(teacher, "input_shapes", {}))
        self.batches, self.note = hold(lambda: calibration, teacher, cut=not whole)
        others, self.judges = split(self.batches, seed)
        self.others = self.batches.of(others)
        roles, idle = roles_and_idle(teacher, self.batches, said, shares, matrices)
        counting = {place: one for place, one in roles.items() if one.share}
        alike = shares.all_alike
        self.roles = roles
        self.shares = {} if alike else {place: one.share for place, one in counting.items()}
        self.kinds = {place: one.kind for place, one in counting.items()}
        (_, self.kind), *beside = self.kinds.items()
        self.beside = dict(beside)
        self._student, self._teacher = student, teacher
        self._judge: Judging | None = None
        taken = _taken(roles) if self.judges and told else ""
        self.note = "; ".join(filter(None, (self.note, taken, _idle(idle) if told else "")))

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
                self.shares,
            )
        return self._judge.mean()

    def traces(self) -> dict[str, float]:
        """What outputs count in curvature: those that do not have a trace, by which what leads to
        them alone is rounded as coarsely as any; else it would be by its scale, as finely as all.
        """
        if not self.shares:
            return {}
        trace = _TRACE * max(self.shares.values())
        return {place: self.shares.get(place, trace) for place in self.roles}

    def each(self) -> dict[str, float]:
        """What each output lost, as a share of what it tells, where `mean` was asked for last.

        None of a network that has a single one.
        """
        return dict(zip(self.kinds, self._judge.each(), strict=True)) if self._judge else {}


def _taken(roles: Mapping[str, OutputRole]) -> str:
    """`the output is taken for logits: ...`; of several, what each is taken for, in its order."""
    if len(roles) == 1:
        (one,) = roles.values()
        return f"the output is taken for {_words(one)}"
    told = [f"{place or 'the main one'}: {_words(one)}" for place, one in roles.items()]
    more = f" and {len(roles) - _NAMED} more" if len(roles) > _NAMED else ""
    counts = list(dict.fromkeys(f"{one.share:g}" for one in roles.values()))
    how = "each counts as much" if len(counts) == 1 else _weighed(roles)
    return f"{len(roles)} outputs, {how}: {'; '.join(told[:_NAMED])}{more}"


def _idle(places: Collection[str]) -> str:
    if not places:
        return ""
    named = [*places][:_NAMED]
    more = f" and {len(places) - _NAMED} more" if len(places) > _NAMED else ""
    counts = "count" if len(places) > 1 else "counts"
    return f"no weight leads to {', '.join(named)}{more}, which {counts} nothing"


def _weighed(roles: Mapping[str, OutputRole]) -> str:
    """`counting 1 and 0.1`, in the order in which they are named."""
    shares = [f"{one.share:g}" for one in [*roles.values()][:_NAMED]]
    return f"counting {', '.join(shares[:-1])} and {shares[-1]}"


def _words(role: OutputRole) -> str:
    kind = "logits" if role.kind == "last" else role.kind
    return f"{kind} ({role.why})"
