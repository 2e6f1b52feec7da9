"""What the parts of a plan are made of: fields that say what they take, numbers, fractions."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, ClassVar, Final

from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

_PERCENT: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,30})?)%")


class ToldError(ValueError):
    """An error whose message stands for itself; the key and value need not be added.

    `at` is the place of the fault below the one that is being checked.
    """

    def __init__(self, message: str, at: tuple[int | str, ...] = ()) -> None:
        super().__init__(message)
        self.at = at


class PlanPart(BaseModel):
    """A mapping of the plan: every field's description says what would do in its place.

    `parts` are the models of fields that hold mappings, or lists of them. `entry` is what one is
    called that stands in a list, `shape` how such a mapping is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)
    parts: ClassVar[dict[str, type[PlanPart]]] = {}
    entry: ClassVar[str] = ""
    shape: ClassVar[str] = ""


def number(value: object) -> float:
    """A finite int or float as it is: no text, and no bool, which Python counts as a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e300:
        return value
    raise ValueError("no finite number")


def percentage(text: str) -> float | None:
    """The number before the sign of "50%"; None if the text is no percentage up to 100.

    >>> percentage("12.5%"), percentage("101%"), percentage("12.5")
    (12.5, None, None)
    """
    found = _PERCENT.fullmatch(text)
    return float(found[1]) if found and float(found[1]) <= 100 else None


def _fraction(value: object) -> float:
    """A fraction, or a percentage of which it is; decimals, so that 30% is exactly 0.3."""
    if not isinstance(value, str):
        return number(value)
    if percentage(value) is None:
        raise ValueError("no percentage")
    return float(Decimal(value.removesuffix("%")) / 100)


def _percent(fraction: float) -> str | float:
    """The percentage that `_fraction` takes for the very same float, if it is not too long."""
    text = f"{format((Decimal(repr(float(fraction))) * 100).normalize(), 'f')}%"
    return fraction if percentage(text) is None else text


Number = Annotated[float, PlainValidator(number)]
Fraction = Annotated[float, PlainValidator(_fraction), PlainSerializer(_percent)]
