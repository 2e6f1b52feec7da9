"""What a module that loads on demand can tell, and the way back to an ordinary one."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

import torch
from torch import nn

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.loading.on_demand.absent import WHOLE, Absent
from taut.loading.on_demand.choose import Choice
from taut.loading.on_demand.kept_bytes import KeptBytes
from taut.loading.on_demand.kept_narrow import keep_narrow
from taut.loading.on_demand.rounded_rows import CacheDtype
from taut.loading.on_demand.row_table import RowTable
from taut.loading.on_demand.weights import Weight, Weights

_FAR: Final = 8  # layers to look ahead for one that has to be decoded
_SCRIPTED: Final = "__prepare_scriptable__"  # torch.jit.script asks a module for it first


@dataclass(frozen=True)
class Stats:
    """Bytes and counts of a module on demand.

    `file` is the compressed bytes, which are mapped; `loaded` the decoded bytes of what stays in
    memory, `on_demand` of what does not; `pool` the buffers held now, and `pool_peak` the most of
    them. `decoded` counts decodings, `ahead` those that the prefetch thread had done in time,
    `outside` those for other uses than by the layer that owns the weight. `kept` is the bytes that
    are kept between passes (`cache`), part of `pool` but for rows of embeddings and for `narrow`:
    integers, or rounded values, of which weights are made anew each time.
    """

    file: int
    loaded: int
    on_demand: int
    pool: int
    pool_peak: int
    weights: int
    decoded: int
    ahead: int
    outside: int
    kept: int
    narrow: int


class OnDemand:
    """Fills the weights of a module's layers when they run; `module.taut`.

    The module is frozen and stays on the CPU in the file's dtypes. Any number of threads may run
    it. `release` ends it. `cache` bytes of decoded weights are kept between passes, rounded to
    `cache_dtype` where that is given and they are wider.
    """

    def __init__(
        self,
        module: nn.Module,
        file: TautFile,
        chosen: Sequence[Choice],
        cache: int = 0,
        cache_dtype: CacheDtype | None = None,
    ) -> None:
        self._module = module
        self._weights = Weights(file, KeptBytes(cache), cache_dtype)
        self._grads = {one: one.requires_grad for one in module.parameters()}
        self._entries = [(Weight(one.info, one.owners, self._weights), one) for one in chosen]
        self._run = threading.local()
        self._after: dict[nn.Module, nn.Module | None] = {}
        self._of = self._by_layer()
        last = sorted(self._entries, key=lambda entry: _is_table(entry[1]))  # words come last
        keep_narrow((weight for weight, _ in last), self._weights.budget)
        self._tables = self._made_tables()
        for layer in self._tables:
            vars(layer)["forward"] = partial(self._look_up, layer)
        vars(module)[_SCRIPTED] = refuse_program
        module.requires_grad_(False)
        layers = [part for part in module.modules() if part in self._of]
        self._after.update(itertools.pairwise(layers))  # a guess, until one has run
        self._hooks = [hook for layer in layers for hook in self._hook(layer)]
        if layers:
            self._hooks.append(module.register_forward_hook(self._end, always_call=True))

    def _by_layer(self) -> dict[nn.Module, tuple[Weight, ...]]:
        """The weights of each layer, none of which is in place any more."""
        found: dict[nn.Module, tuple[Weight, ...]] = {}
        for weight, one in self._entries:
            for layer in one.layers:
                found[layer] = (*found.get(layer, ()), weight)
            weight.put(weight.absent)
        return found

    @property
    def stats(self) -> Stats:
        """Bytes and counts now."""
        weights = self._weights
        tensors = {id(one): one for one in (*self._module.parameters(), *self._module.buffers())}
        on_demand = [weight for weight, _ in self._entries]
        own = {id(one.tensor) for one in on_demand}
        return Stats(
            file=weights.file.size,
            loaded=sum(
                one.nbytes
                for key, one in tensors.items()
                if not isinstance(one, Absent) and key not in own
            ),
            on_demand=sum(one.nbytes for one in on_demand),
            pool=weights.pool.nbytes,
            pool_peak=weights.pool.peak,
            weights=len(on_demand),
            decoded=weights.decoded,
            ahead=weights.ahead_hits,
            outside=weights.outside,
            kept=weights.kept,
            narrow=weights.narrow,
        )

    def following(self, layer: nn.Module) -> nn.Module | None:
        """The layer whose weights are decoded while this one runs: the one that ran after it."""
        return self._after.get(layer)

    def release(self) -> nn.Module:
        """Decode everything for good; the module is an ordinary one again, as if fully loaded.

        Raises:
            VerifyError, FormatError: the file is damaged; the module stays on demand.
        """
        values = [weight.fresh() for weight, _ in self._entries]
        for hook in self._hooks:
            hook.remove()
        self._weights.close()
        for layer in self._tables:
            del vars(layer)["forward"]
        for (weight, one), tensor in zip(self._entries, values, strict=True):
            weight.put(nn.Parameter(tensor, requires_grad=one.requires_grad))
        for tensor, wanted in self._grads.items():
            tensor.requires_grad_(wanted)
        del self._module.taut, vars(self._module)[_SCRIPTED]
        return self._module

    def _hook(self, layer: nn.Module) -> tuple[torch.utils.hooks.RemovableHandle, ...]:
        return (
            layer.register_forward_pre_hook(self._before, prepend=True, with_kwargs=True),
            layer.register_forward_hook(self._behind, always_call=True),
        )

    def _before(
        self, layer: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        if torch.compiler.is_dynamo_compiling():
            refuse_program()
        if torch._C._get_tracing_state() and not torch.onnx.is_in_onnx_export():
            refuse_program()  # torch traces twice, and holds two decodings for two programs
        if torch.is_grad_enabled():
            _check_no_gradients(layer, (*args, *kwargs.values()))
        run = self._run.__dict__
        run["by rows"] = layer if self._by_rows(layer, args, kwargs) else None
        if run["by rows"] is None:
            self._weights.take(self._of[layer])
            run.setdefault("layers", []).append(layer)
        last = run.get("last")
        if last is not None:
            self._runs_after(last, layer)
        run["last"] = layer
        self._weights.expect(self._next_to_decode(layer))

    def _next_to_decode(self, layer: nn.Module) -> tuple[Weight, ...]:
        """The weights of the next layer that has to be decoded, if it is near."""
        if layer in self._weights.quiet:
            return ()
        following = self.following(layer)
        for _ in range(_FAR):
            if following is None:
                break
            weights = () if following in self._tables else self._of[following]
            if not all(weight.is_near for weight in weights):
                return weights
            following = self.following(following)
        self._weights.quiet.add(layer)
        return ()

    def _runs_after(self, layer: nn.Module, following: nn.Module | None) -> None:
        """Note what ran after a layer, where that is another than the last time."""
        if self._after.get(layer) is not following or layer not in self._after:
            self._after[layer] = following
            self._weights.quiet.clear()

    def _made_tables(self) -> dict[nn.Module, RowTable]:
        """Tables of the embeddings that are looked up by rows: none where all weights are kept."""
        weights, budget = self._weights, self._weights.budget
        if budget.nbytes >= sum(weight.nbytes for weight in weights.all):
            return {}
        made: dict[nn.Module, RowTable] = {}
        for weight, one in self._entries:
            reader = weights.file.row_reader(weight.name) if _is_table(one) else None
            if reader is not None:
                table = RowTable(weight, reader, budget, weights.pool)
                made |= dict.fromkeys(one.layers, table)
        weights.tables += set(made.values())
        return made

    def _by_rows(
        self, layer: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> bool:
        table = self._tables.get(layer)
        if table is None or not self._of[layer][0].is_held_by(layer):
            return False  # somebody gave it another weight
        return table.serves(args, kwargs)

    def _look_up(self, layer: nn.Module, *args: object, **kwargs: object) -> object:
        """The forward of an embedding, whose weight is not in place where a few rows will do."""
        if self._run.__dict__.pop("by rows", None) is not layer:
            return type(layer).forward(layer, *args, **kwargs)
        if self._tables[layer].serves(args, kwargs):
            self._weights.check_process()
            return self._tables[layer].look_up(args[0])  # type: ignore[arg-type]
        self._weights.take(self._of[layer])  # another hook has changed what is looked up
        try:
            return type(layer).forward(layer, *args, **kwargs)
        finally:
            self._weights.drop(self._of[layer])

    def _behind(self, layer: nn.Module, args: object, output: object) -> None:
        """Also called after an error, and then even where `_before` did not take anything."""
        taken: list[nn.Module] = self._run.__dict__.get("layers", [])
        if taken and taken[-1] is layer:
            taken.pop()
            self._weights.drop(self._of[layer])

    def _end(self, module: nn.Module, args: object, output: object) -> None:
        """The module has run: what its first layer needs is not decoded before it runs again."""
        last = self._run.__dict__.pop("last", None)
        if last is not None:
            self._runs_after(last, None)
            self._weights.expect(())

    def __deepcopy__(self, memo: object) -> NoReturn:
        """Refused: load the file into another module instead."""
        raise ArgumentError(f"a module that loads on demand cannot be copied: {WHOLE}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refused: save `module.state_dict()`."""
        raise ArgumentError(
            f"a module that loads on demand cannot be pickled: save its state_dict(), or {WHOLE}"
        )


def _is_table(one: Choice) -> bool:
    """Whether all that holds a weight is embeddings."""
    layers = [layer for layer in one.layers if isinstance(layer, nn.Embedding)]
    return len(layers) == len(one.owners) and bool(layers)


class NoProgramError(ArgumentError, AssertionError):
    """A module on demand is to be compiled; torch.compile hands on what is an AssertionError."""


def refuse_program() -> NoReturn:
    """Say that the module cannot be compiled, traced or scripted."""
    raise NoProgramError(
        f"a module that loads on demand cannot be compiled, traced or scripted: {WHOLE}"
    )


refuse_program._dynamo_marked_constant = True  # type: ignore[attr-defined]  # it is called, not read


def _check_no_gradients(layer: nn.Module, given: Sequence[object]) -> None:
    if layer.training:
        raise ArgumentError(
            "a module that loads on demand cannot be trained: module.eval(), torch.no_grad(), or "
            "module.taut.release() first"
        )
    if any(isinstance(one, torch.Tensor) and one.requires_grad for one in given):
        raise ArgumentError(
            "a module that loads on demand gives no gradients: torch.no_grad(), or "
            "module.taut.release() first"
        )
