"""Makes a module of the original class fit a file of its pruned weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from taut.errors import ArgumentError
from taut.io.names import nearest

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
Modules = Mapping[str, Mapping[str, int]]

_MOST = 8  # problems in a message


@contextmanager
def reshaped(module: torch.nn.Module, shapes: Shapes, modules: Modules) -> Iterator[None]:
    """Give a module's tensors other shapes and its layers other widths; undone if the body raises.

    `shapes` are of tensors by name; those that have them already keep their memory, the others are
    new and not yet filled. `modules` are integer attributes by module, of which each must be there.
    Pruning only takes away, so that nothing may grow.

    Raises:
        ArgumentError: something does not fit; the module is as it was.

    >>> import torch
    >>> net = torch.nn.Linear(4, 3)
    >>> with reshaped(net, {"weight": (2, 4), "bias": (2,)}, {"": {"out_features": 2}}):
    ...     print(net, tuple(net.weight.shape))
    Linear(in_features=4, out_features=2, bias=True) (2, 4)
    """
    undo: list[Callable[[], None]] = []
    odd = set(_misfits(module))  # layers of the caller's own making
    try:
        problems = _set_widths(module, modules, undo) + _set_shapes(module, shapes, undo)
        problems = problems or [one for one in _misfits(module) if one not in odd]
        if problems:
            more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
            raise ArgumentError(
                f"{type(module).__name__} is not what was pruned: "
                f"{'; '.join(problems[:_MOST])}{more}"
            )
        yield
    except BaseException:
        for back in reversed(undo):
            back()
        raise


def _set_widths(
    module: torch.nn.Module, modules: Modules, undo: list[Callable[[], None]]
) -> list[str]:
    parts = dict(module.named_modules(remove_duplicate=False))
    problems = []
    for name, widths in modules.items():
        if name not in parts:
            problems.append(f'it has no module "{name}"{nearest(name, parts)}')
            continue
        for key, width in widths.items():
            problem = _set_width(parts[name], key, width, undo)
            if problem:
                problems.append(f'"{name}" {problem}')
    return problems


def _set_width(
    part: torch.nn.Module, key: str, width: int, undo: list[Callable[[], None]]
) -> str | None:
    """Set one attribute; only a count that is there may change, and only to a smaller one."""
    from torch import nn

    old: object = vars(part).get(key)
    new: object = width
    count = old
    if isinstance(part, nn.LayerNorm) and key == "normalized_shape":
        count, new = part.normalized_shape[-1], (*part.normalized_shape[:-1], width)
    if type(count) is not int or key.startswith("_"):
        return f'has no count "{key}"'
    if type(width) is not int or not 1 <= width <= count:
        return f"has {key} {count}, which cannot become {width}"
    undo.append(lambda: setattr(part, key, old))
    setattr(part, key, new)
    return None


def _set_shapes(
    module: torch.nn.Module, shapes: Shapes, undo: list[Callable[[], None]]
) -> list[str]:
    """Put tensors of other shapes in the place of those that differ; tied ones stay tied."""
    found = list(_tensors(module))
    wanted: dict[int, tuple[int, ...]] = {}
    problems = []
    for name, _, old in found:
        if name in shapes and wanted.setdefault(id(old), shapes[name]) != shapes[name]:
            problems.append(f'"{name}" is tied to a tensor of another shape')
    new: dict[int, torch.Tensor] = {}
    for name, held, old in found:
        shape = wanted.get(id(old), tuple(old.shape))
        if shape == tuple(old.shape):
            continue
        if not _shrinks(old, shape):
            problems.append(f'"{name}" {list(old.shape)} cannot become {list(shape)}')
            continue
        if id(old) not in new:
            new[id(old)] = _like(old, shape)
        _put(held, name.rpartition(".")[2], new[id(old)], undo)
    return problems


def _tensors(module: torch.nn.Module) -> Iterator[tuple[str, dict[str, Any], torch.Tensor]]:
    """Every parameter and buffer with its name and its owner's table of them."""
    for prefix, owner in module.named_modules(remove_duplicate=False):
        for held in (owner._parameters, owner._buffers):
            for key, tensor in held.items():
                if tensor is not None:
                    yield f"{prefix}.{key}" if prefix else key, held, tensor


def _shrinks(old: torch.Tensor, shape: tuple[int, ...]) -> bool:
    pairs = zip(old.shape, shape, strict=False)
    return old.ndim == len(shape) and all(1 <= new <= was for was, new in pairs)


def _like(old: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    import torch

    made = torch.empty(shape, dtype=old.dtype, device=old.device)
    if isinstance(old, torch.nn.Parameter):
        return torch.nn.Parameter(made, requires_grad=old.requires_grad)
    return made


def _put(
    held: dict[str, Any], key: str, tensor: torch.Tensor, undo: list[Callable[[], None]]
) -> None:
    old = held[key]
    undo.append(lambda: held.__setitem__(key, old))
    held[key] = tensor


def _misfits(module: torch.nn.Module) -> list[str]:
    """Layers whose weights are not those of their own widths."""
    problems = []
    for name, part in module.named_modules():
        for key, shape in _expected(part).items():
            tensor = getattr(part, key, None)
            if tensor is not None and tuple(tensor.shape) != shape:
                where = f'"{name}.{key}"' if name else f'"{key}"'
                problems.append(f"{where} is {list(tensor.shape)}, {part} takes {list(shape)}")
    return problems


def _expected(part: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes that a layer's widths ask for, by the name of the tensor; () cannot be met."""
    from torch import nn

    if isinstance(part, nn.Linear):
        return {"weight": (part.out_features, part.in_features), "bias": (part.out_features,)}
    if isinstance(part, nn.modules.conv._ConvNd):
        return _of_convolution(part)
    if isinstance(part, nn.MultiheadAttention):
        return _of_attention(part)
    if isinstance(part, (nn.modules.batchnorm._NormBase, nn.GroupNorm)):
        width = part.num_channels if isinstance(part, nn.GroupNorm) else part.num_features
        return dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (width,))
    if isinstance(part, nn.LayerNorm):
        return dict.fromkeys(("weight", "bias"), tuple(part.normalized_shape))
    if isinstance(part, nn.Embedding):
        return {"weight": (part.num_embeddings, part.embedding_dim)}
    if isinstance(part, nn.PReLU):
        return {"weight": (part.num_parameters,)}
    return {}


def _of_convolution(part: torch.nn.modules.conv._ConvNd) -> dict[str, tuple[int, ...]]:
    outer, inner = part.out_channels, part.in_channels
    if inner % part.groups or outer % part.groups:
        return {"weight": ()}
    first, second = (inner, outer) if part.transposed else (outer, inner)
    return {"weight": (first, second // part.groups, *part.kernel_size), "bias": (outer,)}


def _of_attention(part: torch.nn.MultiheadAttention) -> dict[str, tuple[int, ...]]:
    if not part._qkv_same_embed_dim:
        return {}
    width = part.embed_dim
    if part.head_dim * part.num_heads != width:
        return {"in_proj_weight": ()}
    return {"in_proj_weight": (3 * width, width), "in_proj_bias": (3 * width,)}
