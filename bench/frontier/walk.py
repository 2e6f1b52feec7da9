"""Sums over what enters each layer, block by block, on what rounded blocks before it give.

Where the network is a chain of blocks, what a block puts out is kept and the next one runs on it:
two runs of the network in all. Elsewhere it runs from its start for every block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from bench.data.tensors import Array
from taut.networks.find_chain import find_chain

if TYPE_CHECKING:
    from bench.subjects.subject import Batch


class Walk:
    """Through a network whose weights the caller changes, block by block, in the order of use."""

    def __init__(self, network: torch.nn.Module, batches: Sequence[Batch]) -> None:
        self._network, self._batches = network, batches
        self._chain = find_chain(network, batches[0])
        self._next = 0  # block of the chain that is to run
        with torch.no_grad():
            self._entered = [self._chain.enter(one) for one in batches] if self._chain else []
        self._hidden = [one.hidden for one in self._entered]

    def second_moments(self, layers: Sequence[str]) -> dict[str, Array]:
        """Return H = sum x x^T of the inputs of each layer, float64 (columns, columns)."""
        return self.sums(layers, lambda x: (x.T @ x).double().numpy())

    def sums(
        self, layers: Sequence[str], term: Callable[[torch.Tensor], Array]
    ) -> dict[str, Array]:
        """Return the sum, over batches, of `term` of each layer's inputs, (inputs, columns)."""
        sums = _Sums(self._network, layers, term)
        with torch.no_grad():
            at = self._place(layers)
            if at is None:
                for batch in self._batches:
                    sums.gather(lambda one=batch: _called(self._network, one))
            else:
                self._advance(at)
                for number in range(len(self._batches)):
                    sums.gather(partial(self._run, at, number))
        return sums.found

    def _place(self, layers: Sequence[str]) -> int | None:
        """Which block of the chain holds all these layers."""
        names = self._chain.names if self._chain else ()
        held = [i for i, name in enumerate(names) if all(x.startswith(f"{name}.") for x in layers)]
        return held[0] if held and held[0] >= self._next else None

    def _advance(self, place: int) -> None:
        for index in range(self._next, place):
            self._hidden = [self._run(index, i) for i in range(len(self._hidden))]
        self._next = place

    def _run(self, index: int, number: int) -> torch.Tensor:
        assert self._chain is not None
        return self._chain.run(index, self._entered[number], self._hidden[number])


class _Sums:
    """Adds up what enters some layers; a run ends where the last of them has been reached."""

    def __init__(
        self,
        network: torch.nn.Module,
        layers: Sequence[str],
        term: Callable[[torch.Tensor], Array],
    ) -> None:
        self.found: dict[str, Array] = {}
        self._term = term
        self._layers = {name: network.get_submodule(name) for name in layers}
        self._seen: set[str] = set()

    def gather(self, run: Callable[[], object]) -> None:
        self._seen.clear()
        with ExitStack() as hooks:
            for name, layer in self._layers.items():
                hook: Callable[..., None] = partial(self._add, name)
                hooks.enter_context(layer.register_forward_pre_hook(hook))
            with suppress(_EnoughError):
                run()

    def _add(self, name: str, layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        term = self._term(rows_of(layer, inputs[0]))
        self.found[name] = self.found[name] + term if name in self.found else term
        self._seen.add(name)
        if len(self._seen) == len(self._layers):  # nothing behind them matters
            raise _EnoughError


class _EnoughError(Exception):
    """Ends a forward pass whose rest is of no use."""


def rows_of(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return the inputs of a layer's matrix, one a row; of a convolution, its patches."""
    if isinstance(layer, torch.nn.Conv2d):
        size, step = _pair(layer.kernel_size), _pair(layer.stride)
        patches = functional.unfold(x, size, _pair(layer.dilation), _pair(layer.padding), step)
        return patches.transpose(1, 2).flatten(0, 1)
    return x.flatten(0, -2)


def _called(network: torch.nn.Module, batch: Batch) -> object:
    return network(**batch) if isinstance(batch, dict) else network(batch)


def _pair(sizes: object) -> tuple[int, int]:
    if not isinstance(sizes, tuple):
        raise TypeError(f"padding {sizes!r} is not given by numbers")
    return int(sizes[0]), int(sizes[1])
