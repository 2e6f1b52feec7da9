"""Numbers as people read them: three significant digits, decimal units, a sign where it says more.

Every text here is also safe to show: what cannot be printed becomes a replacement character.
"""

from __future__ import annotations

import math
from typing import Final

_SIZES: Final = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_COUNTS: Final = ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k"))
_TIMES: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_JOULES: Final = ((1e3, "kJ"), (1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"))


def digits(number: float, places: int = 3) -> str:
    """That many significant digits, in powers of ten only where zeros would hide them.

    >>> digits(1.0903), digits(90.87), digits(2724), digits(0.0145), digits(2.5e-6), digits(0)
    ('1.09', '90.9', '2724', '0.0145', '2.50e-6', '0')
    """
    if not math.isfinite(number):
        return "not a number" if math.isnan(number) else "infinite"
    if number == 0:
        return "0"
    rounded = float(f"{number:.{places - 1}e}")
    power = math.floor(math.log10(abs(rounded)))
    if not -5 < power < 15:
        mantissa, _, exponent = f"{rounded:.{places - 1}e}".partition("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{number:.{max(0, places - 1 - power)}f}"


def size(nbytes: float) -> str:
    """Bytes in decimal units.

    >>> size(88_100), size(1_090_000), size(12)
    ('88.1 kB', '1.09 MB', '12 B')
    """
    for unit, name in _SIZES:
        if nbytes >= 0.9995 * unit:
            return f"{digits(nbytes / unit)} {name}"
    return f"{nbytes:.0f} B"


def count(number: int) -> str:
    """A count, in decimal units from 10,000 on.

    >>> count(272_474), count(22_713_216), count(1_024)
    ('272 k', '22.7 M', '1,024')
    """
    for unit, name in _COUNTS:
        if number >= max(0.9995 * unit, 10_000):
            return f"{digits(number / unit)}{name}"
    return f"{number:,}"


def exact(number: int) -> str:
    """A count, to the last one.

    >>> exact(8695), exact(10_000)
    ('8,695', '10,000')
    """
    return f"{number:,}"


def cosine(number: float) -> str:
    """A cosine of two models' outputs, which is near 1 and never called 1 if it is not.

    >>> cosine(0.995482), cosine(0.9999999), cosine(1.0)
    ('0.99548', '> 0.99999', '1.00000')
    """
    if not math.isfinite(number):
        return digits(number)
    text = f"{number:.5f}"
    return "> 0.99999" if text == "1.00000" and number < 1 else text


def seconds(number: float) -> str:
    """A duration.

    >>> seconds(0.00217), seconds(12.5), seconds(3e-5)
    ('2.17 ms', '12.5 s', '30.0 µs')
    """
    return _scaled(number, _TIMES)


def joules(number: float) -> str:
    """An energy.

    >>> joules(0.0123), joules(2)
    ('12.3 mJ', '2.00 J')
    """
    return _scaled(number, _JOULES)


def percent(fraction: float) -> str:
    """A fraction in percent.

    >>> percent(0.0425), percent(0.5)
    ('4.25 %', '50.0 %')
    """
    return f"{digits(100 * fraction)} %"


def drop(asked: str) -> str:
    """What a score may lose, as it was asked for, in the notation of the pages.

    >>> drop("0.5%"), drop("0.005")
    ('0.5 %', '0.005')
    """
    number, sign, _ = asked.partition("%")
    return f"{number.strip()} %" if sign else asked


def share(fraction: float) -> str:
    """A fraction in percent that says all, or none, of nothing less.

    >>> share(0.9995), share(1.0), share(0.5), share(0.000002), share(0.99999999)
    ('99.95 %', '100 %', '50.0 %', '0.000200 %', '99.999999 %')
    """
    told = percent(fraction)
    if told != percent(1.0) or fraction >= 1:
        return told
    nines = math.ceil(-math.log10(1 - fraction)) - 2  # decimals that show what is missing
    return f"{100 * fraction:.{max(1, nines + 1)}f}".rstrip("0") + " %"


def score(number: float, decimals: int | None = None) -> str:
    """A score with the digits that tell two of them apart: two decimals from 10 on, else four.

    >>> score(87.421), score(0.87421), score(-3.25)
    ('87.42', '0.8742', '−3.2500')
    """
    if not math.isfinite(number):
        return digits(number)
    places = _decimals(number) if decimals is None else decimals
    return f"{number:.{places}f}".replace("-", "−")


def change(after: float, before: float, decimals: int | None = None) -> str:
    """What a score gained (+) or lost (a minus sign), with the digits of the scores.

    >>> change(87.2, 87.42), change(0.5, 0.5)
    ('−0.22', '0.0000')
    """
    difference = after - before
    if not math.isfinite(difference):
        return digits(difference)
    places = _decimals(before) if decimals is None else decimals
    text = f"{difference:+.{places}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def times(before: float, after: float) -> str:
    """How often `after` goes into `before`.

    >>> times(1_090_000, 88_100)
    '12.4×'
    """
    return f"{digits(before / after)}×" if after else "-"


def capital(text: str) -> str:
    """The text with its first letter large.

    >>> capital("F1, macro"), capital("accuracy")
    ('F1, macro', 'Accuracy')
    """
    return text[:1].upper() + text[1:]


def printable(text: str) -> str:
    """The text in one line of characters that can be shown and change nothing around them.

    >>> printable("conv\\n1\\u202e")
    'conv�1�'
    """
    return "".join(char if char.isprintable() else "�" for char in text)


def finite(number: float) -> bool:
    """Whether a number is one: neither NaN nor infinite."""
    return math.isfinite(number)


def _decimals(number: float) -> int:
    return 2 if abs(number) >= 10 else 4


def _scaled(number: float, units: tuple[tuple[float, str], ...]) -> str:
    if not math.isfinite(number):
        return digits(number)
    for unit, name in units:
        if abs(number) >= 0.9995 * unit:
            return f"{digits(number / unit)} {name}"
    unit, name = units[-1]
    return f"{digits(number / unit)} {name}"
