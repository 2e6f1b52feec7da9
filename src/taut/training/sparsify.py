"""Masks that grow while a network is trained (Zhu and Gupta 2017), and weights that come back.

A weight under the mask stands still and keeps its size, so that it comes back if those kept shrink
below it. Gradients are not for it: Adam would move it by as much as any other, though it has no say
in the loss, and soon it would drive out weights that have. With `regrow` a part of those kept gives
way to the masked ones with the largest gradients (RigL, Evci et al. 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from taut.errors import ArgumentError
from taut.training.student import Student, Twin
from taut.transform.mask import blocks, cubic, global_masks, n_of_m, regrow, unstructured
from taut.transform.settings import Masking

_WATCHED: Final = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_SHARED: Final = ("global", "obs", "l1")  # methods with one threshold for all tensors
_CHOICES: Final = 50  # how often the masks are chosen anew between begin and end
_PULL: Final = 0.1  # of L1, in units of the loss: 0.08 for normal weights
_KEPT: Final = 0.9  # of the running means of squared gradients and inputs


class Sparsifier:
    """Holds the masks of a student's matrices to a schedule; `later` at every step.

    `settings` are by the twins' names; tensors with the same `Masking` that is "global" share one
    threshold. Raises ArgumentError for a mask that does not fit its tensor.
    """

    def __init__(self, student: Student, settings: Mapping[str, Masking]) -> None:
        self._twins = [twin for twin in student.twins if twin.name in settings]
        self._settings = settings
        self._chosen = -1
        self._due: float | None = None
        self._made: set[str] = set()  # those not gradual whose mask is there to stay
        self._watch = _Watch(student, self._twins, settings)
        # After the watch's own hooks, which see gradients whole.
        self._still = [twin.original.register_hook(_still(twin)) for twin in self._twins]  # type: ignore[no-untyped-call]
        module = student.module
        self._before = module.register_forward_pre_hook(
            lambda called, _: (
                self.settle() if called is module and torch.is_grad_enabled() else None
            )
        )
        self._check()
        self._choose(0.0)

    def _check(self) -> None:
        for twin in self._twins:
            one = self._settings[twin.name]
            ones = np.ones(twin.original.shape, np.float32)
            if one.n_of_m is not None:
                n_of_m(ones, *one.n_of_m, name=f'mask: "{twin.name}"')
            if one.block is not None and one.sparsity is not None:
                blocks(ones, one.block, one.sparsity, name=f'mask: "{twin.name}"')
        self._check_thresholds()

    def _check_thresholds(self) -> None:
        """Refuse, before any work, a threshold that already leaves nothing of a tensor."""
        shared: dict[Masking, dict[str, NDArray[np.float32]]] = {}
        for twin in self._twins:
            one = self._settings[twin.name]
            plain = one.n_of_m is None and one.block is None
            if one.method == "global" and plain:  # others go by what only training shows
                shared.setdefault(one, {})[twin.name] = self._watch.scores(twin, one)
        for one, group in shared.items():
            assert one.sparsity is not None
            global_masks(group, one.sparsity)

    def later(self, progress: float) -> None:
        """As `update`, before the network runs next.

        Between a forward pass and its backward pass nothing may change: gradient checkpointing runs
        parts of the network again, and they must come out as before.
        """
        self.settle()  # what was due, had the network run as a whole
        self._due = progress

    def settle(self) -> None:
        """Carry out what is due."""
        if self._due is not None:
            due, self._due = self._due, None
            self.update(due)

    def update(self, progress: float) -> None:
        """Choose the masks anew where the schedule says so; `progress` is from 0 to 1."""
        choice = int(progress * _CHOICES / max(one.end for one in self._settings.values()))
        choice = min(choice, _CHOICES)  # few steps may leap over the last
        if choice != self._chosen:
            self._chosen = choice
            self._choose(progress)

    @property
    def final(self) -> bool:
        """Whether the masks are those that the network ends with."""
        return self._chosen == _CHOICES

    def state(self) -> dict[str, Tensor]:
        """What `restore` needs, beside the masks, to go on as if nothing had been between."""
        due = -1.0 if self._due is None else self._due
        places = {
            "chosen": torch.tensor(self._chosen),
            "due": torch.tensor(due, dtype=torch.float64),
        }
        return {**places, **self._watch.state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`; the masks are the students'."""
        self._chosen = int(state["chosen"])
        self._due = None if float(state["due"]) < 0 else float(state["due"])
        self._watch.restore(state)
        self._made = {n for n, one in self._settings.items() if not one.gradual}

    def penalty(self) -> Tensor | None:
        """The pull of L1 on the tensors that ask for it: mean |w| over their root mean square.

        What no gradient of the task came to has nothing to set against it, and is left alone.
        """
        pulled = [t for t in self._twins if self._settings[t.name].method == "l1" and t.taught]
        if not pulled:
            return None
        sums = [
            t.quant.drawn(t.original).abs().sum() / t.original.detach().square().mean().sqrt()
            for t in pulled
        ]
        return _PULL * torch.stack(sums).sum() / sum(t.original.numel() for t in pulled)

    def close(self) -> None:
        """Watch gradients and inputs no more; what is masked is free to move again."""
        self._watch.close()
        self._before.remove()
        for hook in self._still:
            hook.remove()

    @torch.no_grad()
    def _choose(self, progress: float) -> None:
        together: dict[Masking, dict[str, NDArray[np.float32]]] = {}
        for twin in self._twins:
            one = self._settings[twin.name]
            if twin.name in self._made:
                continue
            if not one.gradual and self._watch.knows(twin, one):
                self._made.add(twin.name)
            scores, share = self._watch.scores(twin, one), _share(one, progress)
            if _has_own(one):
                mask = _own_mask(one, scores, share, name=f'mask: "{twin.name}"')
                if mask is not None:
                    self._set(twin, mask)
            elif share > 0.0:
                together.setdefault(one, {})[twin.name] = scores
        self._choose_together(together, progress)

    def _choose_together(
        self, groups: Mapping[Masking, Mapping[str, NDArray[np.float32]]], progress: float
    ) -> None:
        """Masks of tensors that share one threshold."""
        twins = {twin.name: twin for twin in self._twins}
        for one, scores in groups.items():
            assert one.sparsity is not None
            for name, mask in global_masks(scores, _share(one, progress) * one.sparsity).items():
                self._set(twins[name], mask)

    def _set(self, twin: Twin, mask: NDArray[np.bool_]) -> None:
        one = self._settings[twin.name]
        if not mask.any():
            raise _emptied(twin.name)
        if one.regrow and (gradient := self._watch.gradient(twin)) is not None:
            weights = twin.original.detach().cpu().numpy()
            mask = regrow(mask, weights, gradient, one.regrow)
        twin.quant.mask = _agreed(torch.from_numpy(mask).to(twin.original.device))


def _still(twin: Twin) -> Callable[[Tensor], Tensor | None]:
    """A gradient without the part of the weights under the mask."""

    def still(gradient: Tensor) -> Tensor | None:
        mask = twin.quant.mask
        return None if mask is None else gradient * mask

    return still


def _emptied(name: str) -> ArgumentError:
    return ArgumentError(
        f'mask: leaves nothing of "{name}"; ask for less sparsity, or give that tensor a rule of '
        "its own"
    )


def _agreed(mask: Tensor) -> Tensor:
    """The mask of the first of several processes: gradients and inputs are each one's own."""
    together = torch.distributed
    if together.is_available() and together.is_initialized() and together.get_world_size() > 1:
        together.broadcast(mask, 0)
    return mask


def _has_own(one: Masking) -> bool:
    """Whether each tensor has a threshold, or a pattern, of its own."""
    return one.n_of_m is not None or one.block is not None or one.method not in _SHARED


def _own_mask(
    one: Masking, scores: NDArray[np.float32], share: float, *, name: str
) -> NDArray[np.bool_] | None:
    """The mask of a tensor by its own scores, at a part of the final sparsity; None if none is due.

    N of M is due whole, at the end of its schedule.
    """
    if one.n_of_m is not None:
        return n_of_m(scores, *one.n_of_m) if share >= 1.0 else None
    if share <= 0.0 or one.sparsity is None:
        return None
    if one.block is not None:
        return blocks(scores, one.block, share * one.sparsity, name=name)
    return unstructured(scores, share * one.sparsity, name=name)


def _share(one: Masking, progress: float) -> float:
    """The part of the final sparsity that is due."""
    if not one.gradual:
        return 1.0
    if one.n_of_m is not None:
        return float(progress >= one.begin)
    return cubic((progress - one.begin) / (one.end - one.begin), 1.0)


class _Watch:
    """Running means of what scores are made of: squared gradients, squared inputs."""

    def __init__(
        self, student: Student, twins: list[Twin], settings: Mapping[str, Masking]
    ) -> None:
        self._squares: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] = {}
        self._inputs: dict[str, Tensor] = {}
        self._hooks = []
        self._wanted: dict[str, dict[str, Tensor]] = {}  # what a method goes by, once it is there
        for twin in twins:
            one = settings[twin.name]
            if one.method == "obs":
                self._wanted[twin.name] = self._squares
            if one.method == "obs" or one.regrow:
                hook = twin.original.register_hook(self._note(twin.name))  # type: ignore[no-untyped-call]
                self._hooks.append(hook)
            if one.method == "wanda":
                owner = student.module.get_submodule(twin.name.rpartition(".")[0])
                if isinstance(owner, _WATCHED) and getattr(owner, "groups", 1) == 1:
                    self._wanted[twin.name] = self._inputs
                    self._hooks.append(owner.register_forward_pre_hook(self._norms(twin)))
                else:
                    student.notes.append(f'"{twin.name}": no input to weigh it by; by magnitude')

    def knows(self, twin: Twin, one: Masking) -> bool:
        """Whether what the method goes by has been seen."""
        return twin.name not in self._wanted or twin.name in self._wanted[twin.name]

    def state(self) -> dict[str, Tensor]:
        """All running means by kind and name."""
        return {f"{kind}/{n}": t for kind, held in self._kinds() for n, t in held.items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Put a `state` back."""
        for kind, held in self._kinds():
            begin = f"{kind}/"
            held.update({n[len(begin) :]: t for n, t in state.items() if n.startswith(begin)})

    def _kinds(self) -> list[tuple[str, dict[str, Tensor]]]:
        found = (self._squares, self._gradients, self._inputs)
        return list(zip(("squares", "gradients", "inputs"), found, strict=True))

    def _note(self, name: str) -> Callable[[Tensor], None]:
        def note(gradient: Tensor) -> None:
            square = gradient.detach().square()
            before = self._squares.get(name)
            self._squares[name] = square if before is None else before.lerp(square, 1 - _KEPT)
            self._gradients[name] = gradient.detach()

        return note

    def _norms(self, twin: Twin) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        """Mean squares by input feature; a convolution's channel has one for all its offsets."""
        name, inside = twin.name, twin.original.ndim - 2

        def norms(module: nn.Module, given: tuple[Tensor, ...]) -> None:
            if not torch.is_grad_enabled():  # no batch of the training
                return
            values = given[0].detach().float()
            if inside:
                values = values.movedim(-1 - inside, -1)
            square = values.reshape(-1, values.shape[-1]).square().mean(0)
            square = square.reshape(-1, *[1] * inside)
            before = self._inputs.get(name)
            self._inputs[name] = square if before is None else before.lerp(square, 1 - _KEPT)

        return norms

    def scores(self, twin: Twin, one: Masking) -> NDArray[np.float32]:
        """What a weight is worth: |w|, |w| times its input's norm, or w^2 times its curvature."""
        size = twin.original.detach().abs()
        if one.method == "wanda" and twin.name in self._inputs:
            size = size * self._inputs[twin.name].sqrt()
        if one.method == "obs" and twin.name in self._squares:
            size = size * self._squares[twin.name].sqrt()
        return np.ascontiguousarray(size.cpu().numpy(), dtype=np.float32)

    def gradient(self, twin: Twin) -> NDArray[np.float32] | None:
        """The last gradient, if there was one."""
        found = self._gradients.get(twin.name)
        return None if found is None else found.cpu().numpy()

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()
