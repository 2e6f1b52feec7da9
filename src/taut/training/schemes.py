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
from taut.networks.sharing import held_parameters
from taut.planning.rules import FLOATS
from taut.scheme import Scheme
from taut.training.norms import is_norm
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
    """The schemes that are trained, by the names of parameters: of what is not a norm's alone.

    Without a `dial` nothing says how many bits `rd` is to have: what is under it is trained as it
    is, and rounded finely in the end.
    """
    tensors = {name: tensor for tensor, name in names.items() if tensor in schemes}
    found: dict[str, Scheme] = {}
    for held in held_parameters(module):
        name = next((name for name in held.names if name in tensors), None)
        if name is None or all(is_norm(place.owner) for place in held.places):
            continue
        scheme = schemes[tensors[name]]
        if _is_trained(scheme, dial=dial):
            found[name] = scheme
    return found


def _is_trained(scheme: Scheme, *, dial: bool) -> bool:
    """Whether a scheme asks for other values than the weights have anyway."""
    if scheme.kind in ("keep", "fp16"):
        return False
    if scheme.kind == "lossless":
        return _sparse(scheme)
    return scheme.kind != "rd" or dial or _sparse(scheme)


def tensor_masks(
    schemes: Mapping[str, Scheme],
    names: Mapping[str, str],
    student: Student,
    training: Training,
) -> dict[str, Masking]:
    """The masks of a student's twins: those of their schemes, else the training's, of matrices."""
    twins = {name: twin for twin in student.twins for name in twin.names}
    found: dict[str, Masking] = {}
    for tensor, name in names.items():
        if name not in twins or tensor not in schemes:  # the second name of a tied one has none
            continue
        twin, scheme = twins[name], schemes[tensor]
        if _sparse(scheme):
            found[twin.name] = _mask_of(scheme, training.mask)
        elif training.mask is not None and twin.original.ndim >= 2:
            found[twin.name] = training.mask
    return found


def _mask_of(scheme: Scheme, general: Masking | None) -> Masking:
    """The mask that a sparse scheme asks for, in the way of the training's, if there is one."""
    base = general or Masking(sparsity=0.5)
    if scheme.n_of_m is not None:
        return replace(base, sparsity=None, n_of_m=scheme.n_of_m)
    one = replace(base, sparsity=scheme.sparsity, n_of_m=None)
    # What a rule says is the tensor's own: it shares no threshold.
    shared = general is None or base.method in ("global", "obs")
    return replace(one, method="magnitude") if shared else one


def _sparse(scheme: Scheme) -> bool:
    return scheme.sparsity is not None or scheme.n_of_m is not None
