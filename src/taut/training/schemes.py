"""Which scheme a tensor has when the network is trained: nearly everything goes under the dial.

A small network's biases cost as much as its weights, so that they are trained under the dial too.
Norms and statistics are not: they are rounded finely afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from taut.errors import ArgumentError
from taut.io import Source
from taut.planning.rules import FLOATS
from taut.scheme import Scheme
from taut.transform.settings import Masking, Training

if TYPE_CHECKING:
    import torch

    from taut.training.student import Student


def trained_schemes(
    source: Source,
    plan: Mapping[str, Scheme],
    names: Mapping[str, str],
    fixed: Collection[str] = (),
) -> dict[str, Scheme]:
    """`plan` with every float tensor under the dial, where it says nothing of them.

    `names` maps tensors to parameters and buffers of the network; what is none of these stays
    lossless.

    Raises:
        ArgumentError: a rule asks for a number of bits, or for channels.
    """
    schemes = dict(plan)
    for info in source.infos:
        scheme = schemes.get(info.name)
        if scheme is None:
            continue
        if scheme.bits is not None:
            raise ArgumentError(
                f'plan: "{info.name}": {scheme}: training has one dial; give rd, and bits or size '
                "for the whole model"
            )
        if scheme.channels is not None:
            raise ArgumentError(
                f'plan: "{info.name}": {scheme}: channels hang together; give them as a step '
                "(steps: - channels: ...)"
            )
        if info.name in fixed or info.name not in names or not info.nbytes:
            continue
        if info.dtype in FLOATS:
            schemes[info.name] = Scheme("rd")
    return schemes


def student_schemes(
    schemes: Mapping[str, Scheme],
    names: Mapping[str, str],
    module: torch.nn.Module,
    *,
    dial: bool,
) -> dict[str, Scheme]:
    """The schemes that are trained, by the names of parameters: of what is not a norm's.

    Without a `dial` nothing says how many bits `rd` is to have: what is under it is trained as it
    is, and rounded finely in the end.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    found = {}
    for tensor, name in names.items():
        scheme = schemes.get(tensor)
        if scheme is None or name not in parameters or scheme.kind in ("keep", "fp16"):
            continue
        if scheme.kind == "lossless" and not _sparse(scheme):
            continue
        if scheme.kind == "rd" and not (dial or _sparse(scheme)):
            continue
        if not _is_norm(module.get_submodule(name.rpartition(".")[0])):
            found[name] = scheme
    return found


def tensor_masks(
    schemes: Mapping[str, Scheme],
    names: Mapping[str, str],
    student: Student,
    training: Training,
) -> dict[str, Masking]:
    """The masks of a student's twins: those of their schemes, else the training's, of matrices."""
    general = training.mask
    base = general or Masking(sparsity=0.5)
    twins = {name: twin for twin in student.twins for name in twin.names}
    found: dict[str, Masking] = {}
    for tensor, name in names.items():
        if name not in twins:
            continue
        twin, scheme = twins[name], schemes[tensor] if tensor in schemes else Scheme()
        if scheme.n_of_m is not None:
            found[twin.name] = replace(base, sparsity=None, n_of_m=scheme.n_of_m)
        elif scheme.sparsity is not None:
            one = replace(base, sparsity=scheme.sparsity, n_of_m=None)
            # What a rule says is the tensor's own: it shares no threshold.
            shared = general is None or base.method in ("global", "obs")
            found[twin.name] = replace(one, method="magnitude") if shared else one
        elif general is not None and twin.original.ndim >= 2:
            found[twin.name] = general
    return found


def _sparse(scheme: Scheme) -> bool:
    return scheme.sparsity is not None or scheme.n_of_m is not None


def _is_norm(owner: torch.nn.Module) -> bool:
    """Whether a module normalises: its few parameters multiply whole channels."""
    return "norm" in type(owner).__name__.lower()
