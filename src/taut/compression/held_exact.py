"""Which tensors of a lossy call stay bit-exact, since no scheme can round their values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from taut.compression.request import Asked, Call
from taut.encoding.exact_only import ValueRange, check_roundable, why_exact
from taut.io import Source, TensorInfo
from taut.io.source import fixed_of
from taut.io.tensor_pieces import pieces_of
from taut.planning import quantisable
from taut.planning.rules import FLOATS
from taut.scheme import Scheme

_SHOWN = 3  # tensors that a note names


def hold_exact(source: Source, asked: Asked) -> Asked:
    """The call with every tensor that cannot be rounded left lossless, and a note of them.

    A mask buffer of infinities, a NaN, a number at the end of its dtype: see `why_exact`. What the
    plan names in full is another matter: there the user asked for what cannot be.

    Raises:
        ArgumentError: the plan names such a tensor in full, for a scheme that rounds; or a size is
            asked for, and no tensor is left to be rounded.
        VerifyError: a file was cut short.
    """
    held: dict[str, str] = {}
    by_scale = not asked.call.runs
    rounded = 0
    left = {*source.aliases, *fixed_of(source).difference(asked.fixed)}
    for info in source.infos:
        scheme = None if info.name in left else _meant(info, asked)
        if scheme is None:
            continue
        if info.name in asked.named:
            check_roundable(source, info, scheme, by_scale=by_scale)
            continue
        values = ValueRange.of_pieces(pieces_of(source, info))
        if (why := why_exact(info, values, scheme, by_scale=by_scale)) is not None:
            held[info.name] = why
        else:
            rounded += 1
    if not held:
        return asked
    if not rounded and _dialled(asked) and not _may_fit(asked.call):
        refuse_held(source, held)
    schemes = {**asked.schemes, **dict.fromkeys(held, Scheme())}
    return replace(
        asked, schemes=schemes, held=frozenset(held), notes=(*asked.notes, exact_note(held))
    )


def _meant(info: TensorInfo, asked: Asked) -> Scheme | None:
    """The lossy scheme that a tensor is to get; None if it is exact anyway, or has no values."""
    scheme, call = asked.schemes[info.name], asked.call
    if not info.nbytes or info.dtype not in FLOATS:
        return None
    if scheme != Scheme() or info.name in asked.fixed:
        return None if scheme.kind == "keep" or scheme == Scheme() else scheme
    if _dialled(asked) and (call.train is not None or quantisable(info.dtype, info.shape)):
        return Scheme("rd")
    return None


def _dialled(asked: Asked) -> bool:
    """Whether a size, a score or a training makes matrices lossy that the plan leaves alone."""
    call = asked.call
    wanted = (call.bits, call.size, call.max_drop, call.train)
    return any(one is not None for one in wanted)


def _may_fit(call: Call) -> bool:
    """Whether all may have room in the size that is asked for, as it is."""
    return not call.runs and call.max_drop is None


def refuse_held(source: Source, held: Collection[str]) -> None:
    """Raise `ArgumentError` for the first of the tensors that were to be rounded."""
    info = next(info for info in source.infos if info.name in held)
    check_roundable(source, info, Scheme("rd"))


def exact_note(held: Mapping[str, str]) -> str:
    """That tensors, given with the reason of each, stay as they are.

    >>> exact_note({"mask": "1 of its values is NaN"})
    'bit-exact, since no rounding holds their values: "mask": 1 of its values is NaN'
    """
    told = "; ".join(f'"{name}": {why}' for name, why in list(held.items())[:_SHOWN])
    more = f"; and {len(held) - _SHOWN} more" if len(held) > _SHOWN else ""
    return f"bit-exact, since no rounding holds their values: {told}{more}"
