"""A call with a base: what it is asked of, and what it cannot be asked together with."""

from __future__ import annotations

from collections.abc import Mapping

from taut.compression.request import Call, CompressRequest
from taut.container import ModelBase, open_base
from taut.encoding.on_base import OnBase, base_under
from taut.errors import ArgumentError
from taut.io import Source
from taut.io.nest import NEST
from taut.io.stamp import Stamp


def check_beside_base(given: Mapping[str, object]) -> None:
    """Raise `ArgumentError` for what is asked for, by its name, and does not go with a base."""
    if given.get("train") is not None:
        raise ArgumentError(
            "base (--base): does not go with train (--train), which moves every weight by itself "
            "and stores no difference; leave one out, or let data decide what of the difference "
            "is kept (--calib)"
        )


def rounds(call: Call) -> bool:
    """Whether a call asks for anything but every bit as it is."""
    asked = (call.bits, call.size, call.max_drop, call.calib, call.plan, call.train)
    return any(one is not None for one in asked)


def standing(source: Source, request: CompressRequest) -> Source:
    """The source on the base that was asked for; the source itself where none was.

    Raises:
        ArgumentError: there is no such base, or what else is asked for does not go with one.
        FormatError, VerifyError: the base is damaged.
    """
    if request.base is None:
        return source
    call = request.call
    check_beside_base(vars(call))
    if call.workers.elsewhere:
        raise ArgumentError("base (--base): a delta is made by this process; leave ray (--ray) out")
    whole = NEST in source.metadata
    base = open_base(request.base, threads=call.threads, whole=whole)
    stands = OnBase(source, base, rounds(call))
    if not stands.shares_any():
        raise ArgumentError(
            f"base (--base): {base.identity} has none of the tensors of {source.identity} in their "
            f"dtype and shape{_unlike(source, base)}; give the model that it was made from, or "
            "leave the base out"
        )
    return stands


def _unlike(source: Source, base: ModelBase) -> str:
    """How the first tensor that both have differs; low-bit weights are rounded as floats."""
    for info in source.infos:
        other = base.infos.get(info.name)
        if other is not None:
            told = f'"{info.name}" is {info.dtype} {list(info.shape)}, there {other.dtype}'
            advice = ": a bit-exact delta takes such weights as they are" * (other.dtype == "U8")
            return f" ({told} {list(other.shape)}{advice})"
    return ""


def own_source(source: Source) -> Source:
    """The source as it was opened, without its base."""
    return source.whole if isinstance(source, OnBase) else source


def stamps_of_base(source: Source) -> tuple[Stamp, ...]:
    """What the files of a base were when they were opened."""
    found = base_under(source)
    return () if found is None else found.base.stamps
