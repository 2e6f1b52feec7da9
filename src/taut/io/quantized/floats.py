"""A checkpoint of low-bit weights as a source of floats, for whatever looks at values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from taut.errors import FormatError
from taut.io.based_on import BasedOn
from taut.io.gguf import GgufSource
from taut.io.gguf_floats import gguf_as_floats
from taut.io.quantized.declared import BESIDE, declared_of
from taut.io.quantized.quantized_weight import QuantizedWeight, Tensors, infos_as_floats
from taut.io.quantized.recognise import STATES, recognise
from taut.io.tensor_info import Source, SourceFile, TensorInfo
from taut.io.tensor_pieces import Read, file_reader


class FloatSource(BasedOn):
    """A `Source` like another one, whose low-bit `weights` are floats.

    The tensors that such a weight is made of are not in it; it stands where the first of them did.
    `nbytes` is that of the low-bit checkpoint.
    """

    def __init__(self, source: Source, weights: tuple[QuantizedWeight, ...]) -> None:
        self.whole = source
        self.weights = weights
        self._by_name = {weight.info.name: weight for weight in weights}

    @cached_property
    def _infos(self) -> tuple[TensorInfo, ...]:
        return infos_as_floats(self.whole.infos, self.weights)

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """All tensors, low-bit weights as floats."""
        return self._infos

    @property
    def aliases(self) -> dict[str, str]:
        """Ties among them."""
        names = {info.name for info in self.infos}
        ties = self.whole.aliases.items()
        return {name: of for name, of in ties if name in names and of in names}

    @property
    def companions(self) -> tuple[Path, ...]:
        """The source's, without files that say how low-bit weights are."""
        return tuple(path for path in self.whole.companions if path.name not in BESIDE)

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """None: no file has these tensors."""
        return ()

    @property
    def shards(self) -> dict[str, str]:
        """Which file holds each tensor; of a low-bit weight its first part."""
        held: dict[str, str] = getattr(self.whole, "shards", {})
        first = {weight.info.name: weight.parts[0] for weight in self.weights}
        found = {info.name: first.get(info.name, info.name) for info in self.infos}
        return {name: held[part] for name, part in found.items() if part in held}

    @property
    def notes(self) -> tuple[str, ...]:
        """The source's, and which weights are floats here."""
        return (*super().notes, self.told)

    @property
    def told(self) -> str:
        """How many weights are read as floats, and what they are."""
        kinds = Counter(weight.told for weight in self.weights)
        told = "; ".join(f"{count} {'is' if count == 1 else 'are'} {kind}"
                         for kind, count in kinds.most_common(4))  # fmt: skip
        return f"low-bit weights, read as floats: {told}"

    def reader(self, name: str) -> Read | None:
        """As of the whole; low-bit weights are held."""
        return None if name in self._by_name else file_reader(self.whole, name)

    def load(self, name: str) -> np.ndarray:
        """One tensor; a low-bit weight as the floats that it stands for."""
        weight = self._by_name.get(name)
        if weight is None:
            return self.whole.load(name)
        found = weight.floats(self.whole.load)
        found.flags.writeable = False
        return found

    def view(self, name: str) -> np.ndarray:
        """The same; where the tensor is no low-bit weight perhaps as a view."""
        return self.load(name) if name in self._by_name else self.whole.view(name)


def as_floats(source: Source) -> Source:
    """The source with its low-bit weights, and blocks of GGUF, as floats; itself where it has none.

    Raises:
        ArgumentError: a type of GGUF cannot be read as numbers, or the file is of version 1.
        FormatError: the config and the tensors do not agree, a part is missing, or the method is
            not known.
    """
    if isinstance(source, FloatSource):
        return source
    if isinstance(source, GgufSource):
        return gguf_as_floats(source)
    weights = recognise(tensors_of(source), declared_of(source))
    return FloatSource(source, weights) if weights else source


def floats_in(source: Source) -> FloatSource | None:
    """What reads low-bit weights as floats in a source that stands on it; None if nothing does."""
    found: Source | None = source
    while found is not None and not isinstance(found, FloatSource):
        found = getattr(found, "whole", None)
    return found


def are_floats(source: Source) -> bool:
    """Whether low-bit weights of a source, or of what it stands on, are floats in it."""
    return floats_in(source) is not None


def tensors_of(source: Source) -> Tensors:
    """A source's tensors, for `recognise`."""
    return Tensors({info.name: info for info in source.infos}, source.load, source.identity)


@dataclass(frozen=True)
class Remembered:
    """What a bit-exact file keeps of how its low-bit weights become floats.

    `text` is that of `Declared.text`, "" where there is nothing to keep; `why_not` says what is
    wrong with weights that a config calls low-bit and that cannot be read.
    """

    text: str = ""
    why_not: str = ""


def remembered(source: Source) -> Remembered:
    """What a bit-exact file is to keep of a source's low-bit weights."""
    if are_floats(source):
        return Remembered()
    try:
        declared = declared_of(source)
        weights = recognise(tensors_of(source), declared)
    except FormatError as error:
        return Remembered(why_not=str(error))
    if not weights:
        return Remembered()
    return Remembered(STATES.text() if declared is None else declared.text())
