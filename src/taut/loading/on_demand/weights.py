"""Weights that are there while somebody uses them, and a thread that decodes the next ones."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from taut.container import TautFile
from taut.errors import TautError
from taut.io.dtypes import storage
from taut.io.tensor_info import TensorInfo
from taut.loading.arrays import to_torch
from taut.loading.on_demand.absent import Absent
from taut.loading.on_demand.kept_bytes import KeptBytes
from taut.loading.on_demand.kept_narrow import KeptNarrow, NarrowReader
from taut.loading.on_demand.pool import Pool
from taut.loading.on_demand.rounded_rows import CacheDtype, rounded_reader
from taut.loading.on_demand.row_table import RowTable


class Weight:
    """A tensor of the file, and the places in the module that hold it (several where it is tied).

    `users` counts the layers that run with it; `tensor` is there from the first use, or from the
    prefetch, to the last, and on if it is `kept`. Of what is kept as `narrow` it is made each time.
    """

    def __init__(
        self, info: TensorInfo, owners: Sequence[tuple[torch.nn.Module, str]], of: Weights
    ):
        self.name = info.name
        self.shape = info.shape
        self.owners = tuple(owners)
        self.users = 0
        self.kept = False
        self.narrow: KeptNarrow | None = None
        self.tensor: torch.Tensor | None = None
        self.buffer: np.ndarray | None = None
        self.decoding = threading.Lock()
        self.info = info
        self._of = of
        of.all.append(self)
        owner, key = self.owners[0]
        self._put: torch.Tensor | None = owner._parameters[key]  # what the owners hold
        self.absent = Absent(self, self._put.dtype)  # type: ignore[union-attr]

    @property
    def nbytes(self) -> int:
        """Decoded bytes."""
        return self.info.nbytes

    def fresh(self) -> torch.Tensor:
        """The values in memory of their own."""
        self._of.outside += 1
        return to_torch(self._of.file[self.name], self.info.dtype)

    def narrow_reader(self) -> NarrowReader | None:
        """What gives its integers where it is rounded, or rounds it where that is asked for."""
        of = self._of
        exact = of.file.integer_reader(self.name)
        return exact or rounded_reader(of.file, self.info, of.cache_dtype)

    @property
    def is_near(self) -> bool:
        """Whether its values are there, or as good as there, without decoding."""
        return self.kept or (self.narrow is not None and self.narrow.ready)

    def fill(self) -> None:
        """Decode into a buffer of the pool; the caller holds `decoding`."""
        buffer = self._of.pool.lend(self.nbytes)
        try:
            dtype, shape = storage(self.info.dtype, self.shape)
            # By a view of its own, so that whoever keeps the values is known to keep the buffer.
            own = np.frombuffer(memoryview(buffer), np.uint8)  # type: ignore[arg-type]
            values = own.view(dtype).reshape(shape)
            self._read_into(values, own)
            tensor = torch.nn.Parameter(to_torch(values, self.info.dtype), requires_grad=False)
        except BaseException:
            self._of.pool.take_back(buffer)
            raise
        self.buffer, self.tensor = buffer, tensor

    def _read_into(self, values: np.ndarray, own: np.ndarray) -> None:
        """Make the values of what is kept of them, or decode them."""
        near = self.is_near
        held = None if self.narrow is None else self.narrow.held()
        if held is None:
            self._of.file.read_into(self.name, values)
        else:
            held.read(0, own)
        self._of.decoded += not near

    def is_held_by(self, layer: torch.nn.Module) -> bool:
        """Whether a layer's weight is this one, as far as somebody has not given it another."""
        return layer._parameters.get("weight") is self._put

    def put(self, tensor: torch.Tensor) -> None:
        """Make this what all owners hold, but for those that somebody gave another weight."""
        for owner, key in self.owners:
            if owner._parameters.get(key) is self._put:
                owner._parameters[key] = tensor  # type: ignore[assignment]
        self._put = tensor


class Weights:
    """Takes weights for layers that run, drops them after, and decodes one layer ahead.

    What was taken is kept while the budget lasts: layers run in the same order again and again, so
    that whatever made room for the next one would be missed first. Of rounded weights that is the
    integers, a byte each.
    Any number of threads may run the module: a weight is decoded once and stays as long as one of
    them uses it.
    """

    def __init__(
        self, file: TautFile, budget: KeptBytes, cache_dtype: CacheDtype | None = None
    ) -> None:
        self.file = file
        self.cache_dtype = cache_dtype
        self.budget = budget
        self.pool = Pool()
        self.outside = 0  # decoded for somebody who is not the layer that owns it
        self.ahead_hits = 0
        self.decoded = 0
        self.all: list[Weight] = []
        self.tables: list[RowTable] = []
        self.quiet: set[torch.nn.Module] = set()  # layers behind which nothing has to be decoded
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._ahead: tuple[Weight, ...] = ()
        self._thread: ThreadPoolExecutor | None = None

    def check_process(self) -> None:
        """Begin anew in a process that was forked off."""
        if os.getpid() != self._process:
            self._after_fork()

    def take(self, weights: Sequence[Weight]) -> None:
        """Have these weights in place until `drop`.

        Raises:
            VerifyError, FormatError: the file is damaged; nothing is taken then.
        """
        self.check_process()
        for number, weight in enumerate(weights):
            with self._lock:
                weight.users += 1
            try:
                self._decode(weight)
            except BaseException:
                self.drop(weights[: number + 1])
                raise

    def drop(self, weights: Sequence[Weight]) -> None:
        """Give up weights that were taken; the last user's goes back to the pool."""
        with self._lock:
            for weight in weights:
                weight.users -= 1
                if not weight.users:
                    self._let_go(weight)

    def expect(self, weights: tuple[Weight, ...]) -> None:
        """Begin to decode weights that a later layer takes; those expected before are let go."""
        if not weights and not self._ahead:
            return
        with self._lock:
            stale = [one for one in self._ahead if one not in weights and not one.users]
            new = [one for one in weights if one not in self._ahead]
            self._ahead = weights
            for weight in stale:
                self._let_go(weight)
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="taut-ahead")
            thread = self._thread
        for weight in new:
            if weight.tensor is None:
                thread.submit(self._decode_ahead, weight)

    def _after_fork(self) -> None:
        """In a process that was forked off: its threads are gone, and may have held every lock."""
        self._process, self._thread, self._ahead = os.getpid(), None, ()
        self._lock, self.pool = threading.Lock(), Pool()
        self.quiet.clear()
        self.budget.begin_anew(sum(one.nbytes for one in self.all if one.kept))
        for weight in self.all:
            weight.decoding = threading.Lock()
            if weight.narrow is not None:
                weight.narrow.begin_anew()
            weight.users, weight.buffer, weight.tensor, weight.kept = 0, None, None, False
            weight.put(weight.absent)
        for table in self.tables:
            table.begin_anew(self.pool)

    @property
    def kept(self) -> int:
        """Bytes that are kept between passes."""
        with self._lock:
            weights = sum(weight.nbytes for weight in self.all if weight.kept)
        return weights + self.narrow + sum(table.nbytes for table in self.tables)

    @property
    def narrow(self) -> int:
        """Bytes of integers and of rounded values that are kept."""
        return sum(one.narrow.nbytes for one in self.all if one.narrow is not None)

    def close(self) -> None:
        """End the thread."""
        self.expect(())
        with self._lock:
            thread, self._thread = self._thread, None
        if thread:
            thread.shutdown()

    def _decode(self, weight: Weight) -> None:
        with weight.decoding:
            if weight.tensor is None:
                weight.fill()
            else:
                self.ahead_hits += weight in self._ahead and not weight.kept
            with self._lock:
                weight.put(weight.tensor)  # type: ignore[arg-type]

    def _decode_ahead(self, weight: Weight) -> None:
        with weight.decoding:
            with self._lock:
                if weight.tensor is not None or weight not in self._ahead:
                    return
            try:
                weight.fill()
            except TautError:
                return  # the layer that takes it meets the same error, and tells it
            with self._lock:
                if weight not in self._ahead and not weight.users:
                    self._let_go(weight)

    def _let_go(self, weight: Weight) -> None:
        """Keep a weight that nobody uses, out of sight, or clear it; the lock is held."""
        if weight.buffer is not None and not weight.kept and not weight.is_near:
            weight.kept = self.budget.take(weight.nbytes)
        if weight.kept:
            weight.put(weight.absent)
        else:
            self._clear(weight)

    def _clear(self, weight: Weight) -> None:
        """Let go of a weight that nobody uses; the lock is held."""
        buffer, weight.buffer, weight.tensor = weight.buffer, None, None
        weight.put(weight.absent)
        if buffer is None:
            return
        # One reference is ours and one the call's: any other is of who keeps the values, as a
        # program that was traced does. Nothing may be written over those.
        if sys.getrefcount(buffer) > 2:
            self.pool.give_away(buffer.nbytes)
        else:
            self.pool.take_back(buffer)
