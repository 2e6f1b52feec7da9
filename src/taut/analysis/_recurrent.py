"""Recurrent layers written out in linear maps and steps, so that each use of a weight is seen.

Torch runs a whole LSTM, GRU or RNN in one call, in which nothing can be watched. These give the
same values, of batches as of packed sequences, in any number of layers and directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

State: TypeAlias = "tuple[Tensor, ...]"
Step: TypeAlias = "Callable[[Tensor, State, Given], State]"
Given: TypeAlias = "Sequence[Tensor | None]"  # ih, hh, their biases, and a projection's or None


def written_out(function: Callable[..., object]) -> Callable[..., object] | None:
    """A function of the same arguments and results as a recurrent one of torch's, or None."""
    return _functions().get(function)


@cache
def _functions() -> dict[Callable[..., object], Callable[..., object]]:
    import torch

    steps: dict[str, Step] = {
        "lstm": _lstm_step,
        "gru": _gru_step,
        "rnn_tanh": partial(_rnn_step, torch.tanh),
        "rnn_relu": partial(_rnn_step, torch.relu),
    }
    whole = {getattr(torch, name): partial(_run, step) for name, step in steps.items()}
    cells = {getattr(torch, f"{name}_cell"): partial(_cell, one) for name, one in steps.items()}
    return {**whole, **cells}


def _cell(
    step: Step,
    input: Tensor,
    hx: Any,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> object:
    from torch.nn import functional

    single = step is not _lstm_step
    state = (hx,) if single else tuple(hx)
    given = functional.linear(input, w_ih, b_ih)
    found = step(given, state, (w_ih, w_hh, b_ih, b_hh, None))
    return found[0] if single else found


def _run(step: Step, input: Tensor, *args: Any) -> object:
    """`(input, hx, weights, ...)`, or `(data, batch_sizes, hx, weights, ...)` of a packed one."""
    if isinstance(args[2], (list, tuple)):  # not a truth value: the weights come later
        sizes, hx, *rest = args
        lengths = [int(size) for size in sizes]
        return _layers(step, input, lengths, _state(step, hx), *rest)
    hx, *rest, batch_first = args
    first = input.transpose(0, 1) if batch_first else input
    lengths = [first.shape[1]] * first.shape[0]
    data, *finals = _layers(step, first.flatten(0, 1), lengths, _state(step, hx), *rest)
    output = data.reshape(len(lengths), -1, data.shape[-1])
    return (output.transpose(0, 1) if batch_first else output, *finals)


def _state(step: Step, hx: Any) -> State:
    return tuple(hx) if step is _lstm_step else (hx,)


def _layers(
    step: Step,
    data: Tensor,
    lengths: Sequence[int],
    states: State,
    flat: Sequence[Tensor],
    biased: bool,
    layers: int,
    dropout: float,
    train: bool,
    both: bool,
) -> tuple[Tensor, ...]:
    """All layers' way through packed steps: the last one's outputs, and the last states of all."""
    import torch

    ways = (False, True) if both else (False,)
    weights = iter(_by_layer(flat, biased, layers * len(ways)))
    ends: list[State] = []
    for layer in range(layers):
        if layer and train and dropout:
            data = torch.dropout(data, dropout, train)
        outputs = []
        for backwards in ways:
            begin = tuple(one[len(ends)] for one in states)
            found, end = _direction(step, data, lengths, begin, next(weights), backwards)
            outputs.append(found)
            ends.append(end)
        data = torch.cat(outputs, -1)
    return (data, *(torch.stack(parts) for parts in zip(*ends, strict=True)))


def _by_layer(flat: Sequence[Tensor], biased: bool, count: int) -> list[Given]:
    """The weights of each layer and direction; of a layer with a projection one more."""
    each = len(flat) // count
    plain = 4 if biased else 2
    found: list[Given] = []
    for begin in range(0, len(flat), each):
        mine = list(flat[begin : begin + each])
        biases: list[Tensor | None] = [*mine[2:4]] if biased else [None, None]
        found.append([*mine[:2], *biases, mine[plain] if each > plain else None])
    return found


def _direction(
    step: Step,
    data: Tensor,
    lengths: Sequence[int],
    begin: State,
    weights: Given,
    backwards: bool,
) -> tuple[Tensor, State]:
    """One layer's way through the steps, of which step t has the first `lengths[t]` sequences."""
    import torch
    from torch.nn import functional

    w_ih = weights[0]
    assert w_ih is not None
    given = torch.split(functional.linear(data, w_ih, weights[2]), list(lengths))
    steps = range(len(lengths))[:: -1 if backwards else 1]
    outputs: list[Tensor] = []
    state, ended = _part(begin, slice(lengths[steps[0]])), []
    for t in steps:
        now, before = lengths[t], len(state[0])
        if now < before:
            ended.append(_part(state, slice(now, None)))  # these sequences are over
            state = _part(state, slice(now))
        elif now > before:
            state = _longer(state, _part(begin, slice(before, now)))  # backwards, these begin
        state = step(given[t], state, weights)
        outputs.append(state[0])
    for parts in reversed(ended):
        state = _longer(state, parts)
    return torch.cat(outputs[::-1] if backwards else outputs), state


def _part(state: State, part: slice) -> State:
    return tuple(one[part] for one in state)


def _longer(state: State, more: State) -> State:
    import torch

    return tuple(torch.cat(two) for two in zip(state, more, strict=True))


def _hidden(state: State, weights: Given) -> Tensor:
    from torch.nn import functional

    w_hh = weights[1]
    assert w_hh is not None
    return functional.linear(state[0], w_hh, weights[3])


def _lstm_step(given: Tensor, state: State, weights: Given) -> State:
    from torch.nn import functional

    i, f, g, o = (given + _hidden(state, weights)).chunk(4, -1)
    c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    projection = weights[4]
    return (h if projection is None else functional.linear(h, projection)), c


def _gru_step(given: Tensor, state: State, weights: Given) -> State:
    reset, update, new = given.chunk(3, -1)
    h_reset, h_update, h_new = _hidden(state, weights).chunk(3, -1)
    n = (new + (reset + h_reset).sigmoid() * h_new).tanh()
    z = (update + h_update).sigmoid()
    return ((1 - z) * n + z * state[0],)


def _rnn_step(
    bend: Callable[[Tensor], Tensor], given: Tensor, state: State, weights: Given
) -> State:
    return (bend(given + _hidden(state, weights)),)
