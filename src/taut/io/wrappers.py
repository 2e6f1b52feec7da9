"""Modules around modules: wrappers, which are looked through, and programs, which are refused.

`torch.compile`, DataParallel and DistributedDataParallel put a network into a module of their own,
and with it a word into the names of all its tensors. The network's own names are those without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from taut.errors import ArgumentError

if TYPE_CHECKING:
    import torch

WORDS: Final = ("_orig_mod", "module")
"""What wrappers call the network that they hold."""


def inner(module: torch.nn.Module) -> torch.nn.Module:
    """The network in any number of wrappers; a module that is none is itself the network."""
    while (key := _key(module)) is not None:
        module = module._modules[key]  # type: ignore[assignment]
    return module


def wrapped(module: torch.nn.Module) -> dict[str, str]:
    """The names of the wrappers in a module ("" is the module itself), with the word of each."""
    parts = module.named_modules(remove_duplicate=False)
    return {name: key for name, part in parts if (key := _key(part)) is not None}


def plain_name(name: str, wrappers: dict[str, str]) -> str:
    """A tensor's or module's name without the words of the wrappers around it.

    >>> plain_name("net._orig_mod.0.weight", {"net": "_orig_mod"})
    'net.0.weight'
    """
    kept, path = [], ""
    for word in name.split("."):
        if wrappers.get(path) != word:
            kept.append(word)
        path = f"{path}.{word}" if path else word
    return ".".join(kept)


def without_words(name: str) -> Iterable[str]:
    """What a name may be without the words of wrappers, the least changed first.

    >>> list(without_words("module.net._orig_mod.weight"))
    ['module.net.weight', 'net.weight']
    """
    words = [word for word in name.split(".") if word != "_orig_mod"]
    found = [".".join(words)]
    if words[0] == "module":
        found.append(".".join(words[1:]))
    found.append(".".join(word for word in words if word != "module"))
    return [one for one in dict.fromkeys(found) if one and one != name]


def refuse_programs(model: object, *, scripted: str = "") -> None:
    """Refuse what was exported, and, with a reason in `scripted`, what was scripted or traced.

    Raises:
        ArgumentError: names the kind, and the part of the module that it is.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return
    exported = getattr(sys.modules.get("torch.export"), "ExportedProgram", None)
    if exported is not None and isinstance(model, exported):
        raise ArgumentError(
            f"a torch.export.{type(model).__name__} is a finished program: pass the nn.Module that "
            "it was exported from, or its state_dict"
        )
    if not isinstance(model, torch.nn.Module):
        return
    for name, part in model.named_modules():
        if isinstance(part, torch.jit.ScriptModule) and (why := scripted or _cannot_hold(part)):
            where = f' ("{name}" of {type(model).__name__})' if name else ""
            raise ArgumentError(
                f"a torch.jit.{type(part).__name__}{where} {why}: pass the "
                "nn.Module that it was scripted or traced from, or its state_dict()"
            )


def scripted_parts(module: torch.nn.Module) -> list[torch.jit.ScriptModule]:
    """The scripted or traced parts of a module, or it itself; not the parts of such parts."""
    import torch

    kind = torch.jit.ScriptModule
    parts = [(name, part) for name, part in module.named_modules() if isinstance(part, kind)]
    found: dict[str, torch.jit.ScriptModule] = {}
    for name, part in parts:
        if not any(not one or name.startswith(f"{one}.") for one in found):
            found[name] = part
    return [*found.values()]


def _cannot_hold(part: torch.jit.ScriptModule) -> str:
    """Why a program cannot be stored as tensors: its weights are constants of its graph."""
    held = sum(map(_weights_within, _forwards(part)))
    if held <= sum(one.numel() for one in part.parameters()):
        return ""
    return f"is frozen, with {held:,} weights as constants of its program"


def _forwards(part: torch.jit.ScriptModule) -> Iterable[torch._C.Graph]:
    if part._c._has_method("forward"):
        yield part._c._get_method("forward").graph


def _weights_within(block: torch._C.Block | torch._C.Graph) -> int:
    """Values of the matrices of floats that a graph has as constants, not those of its calls."""
    import torch

    total = 0
    for node in block.nodes():
        total += sum(map(_weights_within, node.blocks()))
        if node.hasAttribute("value") and node.kindOf("value") == "t":
            value = node.t("value")
            matrix = isinstance(value, torch.Tensor) and value.ndim > 1
            total += value.numel() if matrix and value.is_floating_point() else 0
    return total


def _key(module: torch.nn.Module) -> str | None:
    """What a wrapper calls its network; None of a module that is no wrapper."""
    import torch

    if isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)):
        return "module"
    compiler = sys.modules.get("torch._dynamo.eval_frame")  # nothing is compiled before it is there
    kind = getattr(compiler, "OptimizedModule", None)
    return "_orig_mod" if kind is not None and isinstance(module, kind) else None
