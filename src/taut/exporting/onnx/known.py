"""What is found out about a float graph once, however often it is written in other numbers."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

from taut.exporting.onnx.answers import run_on
from taut.exporting.onnx.ranges import RangeHistogram, observe
from taut.networks.onnx_session import feed, observed

if TYPE_CHECKING:
    from onnx import ModelProto

Found = TypeVar("Found")


class Known:
    """Histograms of a graph's values on calibration batches, and the integers of its weights."""

    def __init__(self, batches: Sequence[object]) -> None:
        self._batches = batches
        self._histograms: dict[str, RangeHistogram] = {}
        self._integers: dict[Hashable, object] = {}

    def histograms(self, model: ModelProto, names: Sequence[str]) -> dict[str, RangeHistogram]:
        """The histograms of the values named, which the graph has as floats.

        Raises:
            ArgumentError: there is no batch, one does not fit the graph, or values are not finite.
        """
        if missing := [name for name in names if name not in self._histograms]:
            session = observed(model, missing)
            feeds = [feed(session, batch) for batch in self._batches]
            self._histograms |= observe(
                feeds, missing, lambda given, wanted: run_on(session, "calibration", given, wanted)
            )
        return {name: self._histograms[name] for name in names}

    def integers(self, key: Hashable, make: Callable[[], Found]) -> Found:
        """The integers of a weight, made when they are asked for first."""
        if key not in self._integers:
            self._integers[key] = make()
        return self._integers[key]  # type: ignore[return-value]  # a key is of one kind
