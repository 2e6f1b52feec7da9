"""In what numbers a model for a phone or a board is written, and how near its answers must be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from taut.errors import ArgumentError, VerifyError
from taut.exporting.held_against import WrittenModel
from taut.exporting.request import ExportRequest
from taut.exporting.result import Check

Weights = Literal["float32", "float16", "int8"]
Activations = Literal["none", "dynamic", "static"]

_COSINE: Final = 0.9  # below which an answer of integers is another
# The most that an output may be off, as a part of its root mean square.
_RELATIVE: Final = {"float32": 1e-3, "float16": 2e-2, "int8": 0.5}


@dataclass(frozen=True)
class DeviceForm:
    """The numbers of weights, and of activations beside int8 weights.

    "static" activations have ranges that calibration shows, "dynamic" ones are rounded by the range
    that they have when they come, "none" leaves them float. `max_error` bounds the largest error of
    an output's value as a part of its range, in place of the usual bounds.
    """

    weights: Weights = "int8"
    activations: Activations = "dynamic"
    max_error: float | None = None

    @property
    def told(self) -> str:
        """The form in words: `int8 weights, static activations`."""
        if self.weights != "int8":
            return f"{self.weights} weights"
        return f"int8 weights, {self.activations.replace('none', 'float')} activations"

    def refuse_far(self, written: WrittenModel, found: Check) -> None:
        """Raise `VerifyError` where answers are further off than this form's may be."""
        why = self._why(found)
        if why:
            raise VerifyError(
                f"{written.name}: {written.program}'s answers have {why}; give other weights or "
                "activations (--weights float16, --activations dynamic or none), calibrate on data "
                "like those of real use, or say with --max-error how far they may be off"
            )

    def _why(self, found: Check) -> str:
        relative, most = found.relative or 0.0, found.of_range or 0.0
        if self.max_error is not None:
            if most <= self.max_error:
                return ""
            return f"a largest error of {most:.2g} of the outputs' range, above {self.max_error:g}"
        if relative > (bound := _RELATIVE[self.weights]):
            return f"a relative error of {relative:.2g} in an output, above {bound:g}"
        if found.cosine < _COSINE:
            return f"a cosine of {found.cosine:.3f} with the network's, below {_COSINE}"
        return ""


@dataclass(frozen=True)
class FormChoice:
    """The numbers that a format has: of weights, and of activations beside int8 ones.

    The first of `activations` is the usual one where there are no data to calibrate on.
    """

    shown: str
    weights: tuple[Weights, ...]
    activations: tuple[Activations, ...]


def device_form(request: ExportRequest, choice: FormChoice) -> DeviceForm:
    """The form that was asked for: int8, static where there are data to calibrate on.

    Raises:
        ArgumentError: the format has no such numbers, or static ones lack data.
    """
    weights = next((one for one in choice.weights if one == (request.weights or "int8")), None)
    if weights is None:
        raise ArgumentError(
            f"weights {request.weights}: {choice.shown} takes {', '.join(choice.weights)}"
        )
    error = request.max_error
    if error is not None and not 0 < error < float("inf"):
        raise ArgumentError(f"max_error: {error} is no bound; give a part of the range, as .05")
    return DeviceForm(weights, _activations(request, weights, choice), error)


def _activations(request: ExportRequest, weights: Weights, choice: FormChoice) -> Activations:
    """The activations that were asked for, or those that go with such weights."""
    asked = request.activations
    if weights != "int8":
        if asked not in (None, "none"):
            raise ArgumentError(f"activations {asked}: go with weights int8, not with {weights}")
        return "none"
    usual = choice.activations[0] if request.calib is None else _with_data(choice)
    found = usual if asked is None else _known(asked, choice)
    if found == "static" and request.calib is None:
        raise ArgumentError(
            "activations static: take data to calibrate on; give --calib (calib=), or activations "
            "dynamic"
        )
    return found


def _with_data(choice: FormChoice) -> Activations:
    """The activations of int8 weights where there are data to calibrate on."""
    return "static" if "static" in choice.activations else choice.activations[0]


def _known(asked: str, choice: FormChoice) -> Activations:
    """The activations that were named; ArgumentError where the format has none such."""
    for one in choice.activations:
        if one == asked:
            return one
    names = ", ".join(choice.activations)
    raise ArgumentError(f'activations: "{asked}" is none of {names}, as {choice.shown} has')


def float_notes(sizes: Sequence[int], rounded: int) -> tuple[str, ...]:
    """A note where weights stay float: `sizes` are the values of all, `rounded` how many do not."""
    left = len(sizes) - rounded
    if left <= 0:
        return ()
    return (
        f"{left} of {len(sizes)} weights stay float: the runtime has no kernels of integers there",
    )
