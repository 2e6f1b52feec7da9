"""Recurrent layers that read their weights by name, as all other layers do.

Surprise: torch's LSTM, GRU and RNN keep a list of their weights, made once, which a parametrisation
does not reach. A student's layer gets a class of its own, whose list is made anew when it is asked
for; within one call each weight is worked out once.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize


def read_by_name(layer: nn.RNNBase) -> None:
    """Give a recurrent layer, in place, a class whose weights are those of their names, always."""
    kind = type(layer)
    if isinstance(vars(kind).get("_flat_weights"), property):
        return
    body: Mapping[str, object] = {
        "_flat_weights": property(_weights, _kept_by_name),
        "_update_flat_weights": _nothing,
        "flatten_parameters": _nothing,
        "forward": _forward_of(kind),
        "__module__": kind.__module__,
    }
    vars(layer).pop("_flat_weights", None)
    layer.__class__ = type(kind.__name__, (kind,), dict(body))


def _weights(layer: nn.RNNBase) -> list[Tensor]:
    """The weights in the order that torch's kernels want."""
    return [getattr(layer, name) for name in layer._flat_weights_names]


def _kept_by_name(layer: nn.RNNBase, weights: object) -> None:
    """What torch would put into its list is held by its name already."""


def _nothing(layer: nn.RNNBase) -> None:
    """There is no list to bring up to date, nor one to lay out in a row."""


def _forward_of(kind: type[nn.RNNBase]) -> object:
    def forward(self: nn.RNNBase, *given: object, **named: object) -> object:
        with parametrize.cached():  # the list is asked for several times in one call
            return kind.forward(self, *given, **named)

    return forward
