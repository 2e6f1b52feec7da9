"""A Taut file whose tensors are named as a module's: wrappers on either side do not count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from taut.container import IntegerReader, RowReader, TautFile
from taut.io import TensorInfo
from taut.io.gguf_metadata import METADATA
from taut.io.tensor_pieces import PIECE
from taut.io.wrappers import plain_name, without_words, wrapped

if TYPE_CHECKING:
    import torch


def fitted_file(file: TautFile, module: torch.nn.Module) -> tuple[TautFile, str]:
    """The file by the names that a module has for its tensors, and what a user is to know of it.

    It is the same file where its names are the module's, or could be nothing but a misfit. Words of
    wrappers (`module.`, `_orig_mod.`) are left out or put in where the module has such a tensor.
    """
    known = _raw_names(module)
    names = spelled(file, known)
    beside = file.index.origin.metadata.get(METADATA)  # of a GGUF file, which no module has
    if beside in names and beside not in known.values():
        del names[beside]
    if len(names) == len(file) and all(name == stored for name, stored in names.items()):
        return file, ""
    modules = spelled(file.modules, _raw_modules(module))
    said = sum(name != stored and stored not in known for name, stored in names.items())
    note = (
        f"{file.path}: the names of {said} tensors have words of torch.compile or DataParallel in "
        "them (_orig_mod., module.), which were left out"
    )
    return FittedFile(file, names, modules), note if said else ""


class FittedFile(TautFile):
    """The tensors of a file by other names; `names` gives the file's name for each of them."""

    def __init__(
        self, file: TautFile, names: Mapping[str, str], modules: Mapping[str, str]
    ) -> None:
        vars(self).update(vars(file))
        self._file, self._names, self._modules = file, names, modules

    @property
    def infos(self) -> tuple[TensorInfo, ...]:
        """As the file's, by the other names."""
        infos = {info.name: info for info in self._file.infos}
        return tuple(replace(infos[stored], name=name) for name, stored in self._names.items())

    @property
    def modules(self) -> Mapping[str, Mapping[str, int]]:
        """As the file's, by the module's own names."""
        return {name: self._file.modules[stored] for name, stored in self._modules.items()}

    def __iter__(self) -> Iterator[str]:
        """The other names."""
        return iter(self._names)

    def __len__(self) -> int:
        """How many tensors there are."""
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        """Whether there is such a tensor; decodes nothing."""
        return name in self._names

    def __getitem__(self, name: str) -> np.ndarray:
        """Decode one tensor."""
        return self._file[self._names.get(name, name)]

    def pieces(self, name: str, nbytes: int = PIECE) -> Iterator[np.ndarray]:
        """Decode one tensor piece by piece."""
        return self._file.pieces(self._names.get(name, name), nbytes)

    def read_into(self, name: str, out: np.ndarray) -> None:
        """Decode one tensor into an array."""
        self._file.read_into(self._names.get(name, name), out)

    def row_reader(self, name: str) -> RowReader | None:
        """What gives some rows of a tensor without decoding all of it."""
        return self._file.row_reader(self._names.get(name, name))

    def integer_reader(self, name: str) -> IntegerReader | None:
        """What gives the integers that a rounded tensor's values are made of."""
        return self._file.integer_reader(self._names.get(name, name))

    def load_all(
        self, *, threads: int | None = None, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Decode all tensors at once."""
        given = {self._names.get(name, name): array for name, array in (out or {}).items()}
        found = self._file.load_all(threads=threads, out=given)
        return {name: found[stored] for name, stored in self._names.items()}


def _raw_names(module: torch.nn.Module) -> dict[str, str]:
    """Plain names of a module's tensors, to those that its state has."""
    wrappers = wrapped(module)
    names = [*module.state_dict(keep_vars=True), *(name for name, _ in module.named_buffers())]
    return {plain_name(name, wrappers): name for name in names}


def _raw_modules(module: torch.nn.Module) -> dict[str, str]:
    """Plain names of a module's parts, to those that they have in it; not of the wrappers."""
    wrappers = wrapped(module)
    names = (name for name, _ in module.named_modules(remove_duplicate=False))
    return {plain_name(name, wrappers): name for name in names if name not in wrappers}


def spelled(stored: Iterable[str], known: Mapping[str, str]) -> dict[str, str]:
    """For each stored name the one to use for it, as {to use: stored}.

    `known` are plain names, to those to use. A name that means nothing else stays as it is.

    >>> spelled(["module.0.bias", "other"], {"0.bias": "0.bias"})
    {'0.bias': 'module.0.bias', 'other': 'other'}
    """
    found: dict[str, str] = {}
    own = set(known.values())
    names = [*stored]
    taken = own & {*names}
    for name in names:
        to = name
        if name not in own:
            spelled = (known[one] for one in (name, *without_words(name)) if one in known)
            to = next((one for one in spelled if one not in taken), name)
        taken.add(to)
        found[to] = name
    return found
