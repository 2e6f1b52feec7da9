"""Which part of a network's output counts, and how its axes are to be read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, TypeGuard

from taut.errors import ArgumentError

if TYPE_CHECKING:
    import torch

Loss: TypeAlias = "Callable[[object, object], torch.Tensor]"
Maker: TypeAlias = "Callable[[torch.Tensor], str | tuple[str, ...] | None]"

OUTPUTS: Final = ("auto", "logits", "probabilities", "features")
_HEADS: Final = re.compile(
    r"(^|.*[._])(fc\d*|heads?|classifier|cls|score|lm_head|output|logits|linear|decoder|proj)$"
)
FEATURES: Final = (
    "sentence_embedding", "text_embeds", "image_embeds", "logits", "last_hidden_state"
)  # fmt: skip


def said_outputs(said: str | Mapping[str, str] | None) -> dict[str, str]:
    """What a caller says that outputs hold, by their places; "" is the main one.

    `said` is one of OUTPUTS for the main output, or one for each place, as a mapping or as the text
    `policy=logits,value=features`.

    Raises:
        ArgumentError: a word is none of OUTPUTS.

    >>> said_outputs("logits"), said_outputs("0=logits,1=features")
    ({'': 'logits'}, {'0': 'logits', '1': 'features'})
    """
    if said is None:
        return {}
    if isinstance(said, str):
        parts = [part.rpartition("=") for part in said.split(",")]
        pairs = [(place.strip(), word.strip()) for place, _, word in parts]
    elif isinstance(said, Mapping):
        pairs = [(str(place), word) for place, word in said.items()]
    else:
        raise ArgumentError(
            f"output (--output-kind): {said!r} is neither a word nor words for places "
            '({"policy": "logits"})'
        )
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ArgumentError(
            f'output (--output-kind): "{said}" says two things of one output; of several outputs '
            "say which is which: 0=logits,1=features"
        )
    for place, word in found.items():
        if not isinstance(word, str) or word not in OUTPUTS:
            where = f' of "{place}"' if place else ""
            raise ArgumentError(
                f'output (--output-kind){where}: "{word}" is none of {", ".join(OUTPUTS)}'
            )
    return found


@dataclass(frozen=True)
class KeptOutput:
    """The tensor whose change is the loss, and whether it holds logits.

    `last` is for those whose classes are known to be on the last axis, whatever the shape. `place`
    is where the output has it, as `float_parts` names places.
    """

    tensor: torch.Tensor
    logits: bool
    last: bool = False
    place: str = ""

    @property
    def axis(self) -> int:
        """That of the classes: 1 or -1."""
        return -1 if self.last else class_axis(self.tensor)


def find_target(output: object, kind: str, maker: Maker) -> KeptOutput:
    """The part of a model's output to be kept; `kind` is one of OUTPUTS.

    `maker` gives the weight's name, or the names of a tied one, for a tensor that is a linear
    layer's very output.

    Raises:
        ArgumentError: the output holds no tensor of floats.
    """
    if kind != "auto":
        names = FEATURES if kind == "features" else ("logits",)
        return KeptOutput(_named_or_first(output, names), kind == "logits")
    logits = _part(output, "logits")
    if is_float(logits):
        return told_output(logits, maker, named=True)
    return told_output(_named_or_first(output, FEATURES), maker)


def told_output(tensor: torch.Tensor, maker: Maker, *, named: bool = False) -> KeptOutput:
    """Whether one tensor of an output holds logits, and on which axis; `maker` as `find_target`.

    `named` is for what the output itself calls logits. What a linear layer made has its classes
    last, whatever its shape; for the rest `class_axis` rules.
    """
    made = maker(tensor) or ()
    found = KeptOutput(tensor, named, last=bool(made))
    head = named or any(is_head(name) for name in ((made,) if isinstance(made, str) else made))
    return replace(found, logits=head and _size(tensor, found.axis) > 1)


def _named_or_first(output: object, names: tuple[str, ...]) -> torch.Tensor:
    """The first of the named parts that is a tensor of floats, else the first such tensor.

    One with axes goes before one without, which a forward that is given targets gives as its loss.

    Raises:
        ArgumentError: there is none.
    """
    parts = (_part(output, name) for name in names)
    tensor = next((part for part in parts if is_float(part)), None)
    if tensor is None:
        found = [*_floats(output)]
        tensor = next((one for one in found if one.ndim), found[0] if found else None)
    if tensor is None:
        raise ArgumentError(
            f"the model's output, a {type(output).__name__}, holds no tensor of floats; "
            "give loss(output, batch)"
        )
    if tensor.ndim and not tensor.shape[-1]:
        raise ArgumentError(
            f"the model's output, of shape {tuple(tensor.shape)}, has no values; give loss(output, "
            "batch), or let the forward return what it computes"
        )
    return tensor


def is_head(name: str) -> bool:
    """Whether a weight or bias is called as that of a layer that gives logits.

    >>> is_head("classifier.weight"), is_head("fc.bias"), is_head("pooler.dense.weight")
    (True, True, False)
    """
    return _HEADS.match(name.removesuffix(".weight").removesuffix(".bias")) is not None


def _part(output: object, name: str) -> object:
    if isinstance(output, Mapping):
        return output.get(name)
    return getattr(output, name, None)


def _floats(output: object) -> Iterator[torch.Tensor]:
    """The tensors of floats in an output, in order; complex numbers are pairs of them."""
    import torch

    if isinstance(output, torch.Tensor):
        output = as_real(output)
    if is_float(output):
        yield output
        return
    for part in _held(output).values():
        yield from _floats(part)


def as_real(tensor: torch.Tensor) -> torch.Tensor:
    """A complex tensor as pairs of reals, on an axis more; any other as it is.

    >>> import torch
    >>> as_real(torch.tensor([1 + 2j]).conj()).tolist()
    [[1.0, -2.0]]
    """
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def is_float(value: object) -> TypeGuard[torch.Tensor]:
    """Whether a value is a tensor of floats."""
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()


def class_axis(logits: torch.Tensor, targets: torch.Tensor | None = None) -> int:
    """The axis of the classes: 1 or -1.

    Targets of one class a position have the logits' shape without that axis. Where they fit both,
    or there are none, images (4 axes and more) have their classes on axis 1, as torch's
    cross_entropy has it, and all others, as sequences (batch, time, classes), on the last.

    >>> import torch
    >>> sequence, image = torch.ones(2, 5, 3), torch.ones(2, 5, 8, 3)
    >>> class_axis(sequence), class_axis(image), class_axis(image, torch.ones(2, 5, 8))
    (-1, 1, -1)
    """
    usual = 1 if logits.ndim >= 4 else -1
    if targets is None or _without(logits, usual) == targets.shape:
        return usual
    return -usual if _without(logits, -usual) == targets.shape else usual


def _without(logits: torch.Tensor, axis: int) -> tuple[int, ...]:
    """The shape without an axis; none where there is no such axis."""
    shape = tuple(logits.shape)
    if axis == 1:
        return (*shape[:1], *shape[2:]) if len(shape) > 1 else ()
    return shape[:-1]


def _size(logits: torch.Tensor, axis: int) -> int:
    return int(logits.shape[axis]) if logits.ndim else 1


def float_parts(output: object) -> dict[str, torch.Tensor]:
    """Every floating or complex tensor that an output holds, by its place (`heads.0`).

    A lone tensor has the place "". Dicts, tuples, lists and dataclasses are gone through, however
    deep they lie; of other objects the tensors among their attributes are taken. Tensors without an
    axis, as losses, are left out.

    >>> import torch
    >>> one = torch.ones(1)
    >>> list(float_parts({"loss": one[0], "heads": (one, {"box": one})}))
    ['heads.0', 'heads.1.box']
    """
    return dict(_float_parts(output, ""))


def _float_parts(value: object, place: str) -> Iterator[tuple[str, torch.Tensor]]:
    import torch

    if isinstance(value, torch.Tensor):
        if value.ndim and (value.is_floating_point() or value.is_complex()):
            yield place, value
        return
    for name, part in _held(value).items():
        yield from _float_parts(part, f"{place}.{name}" if place else name)


def _held(value: object) -> dict[str, object]:
    """What a container of outputs holds, by name or number; nothing of what is none."""
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return {str(number): part for number, part in enumerate(value)}
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name, None) for one in fields(value)}
    own = getattr(value, "__dict__", {})
    return {name: part for name, part in own.items() if is_float(part)}


def token_mask(batch: object, z: torch.Tensor) -> torch.Tensor | None:
    """The attention mask, where the output has a vector for each of its tokens."""
    import torch

    mask = batch.get("attention_mask") if isinstance(batch, Mapping) else None
    if not isinstance(mask, torch.Tensor) or z.ndim != 3 or mask.shape != z.shape[:2]:
        return None
    return (mask != 0).to(z.device, z.dtype)[..., None]
