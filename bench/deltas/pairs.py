"""Real pairs of a base and what became of it: fine-tuned, merged, trained on, moved by one ulp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional

from bench.classics.cifar import resnet20
from bench.classics.data import Task
from bench.classics.mnist import lenet
from bench.data.assets import asset

Tensors = dict[str, np.ndarray]
_RANK, _CONTEXT = 8, 128


def one_ulp(base: Tensors, share: float = 0.02, seed: int = 0) -> Tensors:
    """Move this share of each bfloat16 tensor's values by one ulp, up or down."""
    rng = np.random.default_rng(seed)
    moved = {}
    for name, values in base.items():
        bits = values.view(np.uint16).copy().reshape(-1)
        some = rng.random(bits.size) < share
        bits[some] += rng.choice(np.array([1, 65535], np.uint16), int(some.sum()))
        moved[name] = bits.view(values.dtype).reshape(values.shape)
    return moved


def as_bfloat16(tensors: Tensors) -> Tensors:
    """Round all float32 tensors to bfloat16."""
    return {
        name: t.astype(ml_dtypes.bfloat16) for name, t in tensors.items() if t.dtype.kind == "f"
    }


def epochs(task: Task, count: int, rate: float, seed: int = 0) -> Iterator[nn.Module]:
    """Train on from the task's weights with SGD; the network after each epoch."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    network = task.trained().train()
    optimiser = torch.optim.SGD(network.parameters(), rate, momentum=0.9, weight_decay=1e-4)
    images, labels = task.train.images, task.train.labels
    for _ in range(count):
        for some in torch.randperm(len(labels)).split(128):
            batch = (images[some].float() / 255 - task.mean) / task.deviation
            optimiser.zero_grad()
            functional.cross_entropy(network(batch), labels[some]).backward()
            optimiser.step()
        yield network


def _arrays(network: nn.Module) -> Tensors:
    """Tensors of a network in C order, which the writer of safetensors takes them for."""
    return {n: np.ascontiguousarray(t.numpy()) for n, t in network.state_dict().items()}


def fine_tuned_resnet20(folder: Path) -> tuple[Path, Path]:
    """ResNet-20 as it was trained on lossless images, and after two epochs of recompressed ones."""
    base, tuned = folder / "resnet20.safetensors", folder / "resnet20_tuned.safetensors"
    task = resnet20()
    known = set(task.network().state_dict())
    weights = load_file(asset("cifar10/resnet20.safetensors"))
    own = {n: torch.from_numpy(np.array(t)) for n, t in weights.items() if n in known}
    task.weights.clear()
    task.weights.update(own)
    save_file({n: t.numpy() for n, t in own.items()}, base)
    for network in epochs(task, 2, 0.01):
        save_file(_arrays(network), tuned)
    return base, tuned


def lenet_epochs(folder: Path, count: int = 10) -> list[Path]:
    """LeNet-300-100 after each epoch of one training that starts from nothing."""
    task = lenet("lenet300")
    torch.manual_seed(1)
    task.weights.clear()
    task.weights.update(task.network().state_dict())
    files = []
    for number, network in enumerate(epochs(task, count, 0.1)):
        files.append(folder / f"lenet_{number}.safetensors")
        save_file(_arrays(network), files[-1])
    return files


def merged_lora(folder: Path, steps: int = 150) -> tuple[Path, Path]:
    """gpt2m in bfloat16, and with a LoRA of rank 8 on all its linear layers merged into it."""
    base = {n: torch.from_numpy(t.astype(np.float32)) for n, t in _gpt2m().items()}
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokens = torch.from_numpy(np.load(asset("lm_gpt2m/val.npy")).astype(np.int64))
    adapters = {
        name: (torch.zeros(t.shape[0], _RANK), torch.randn(_RANK, t.shape[1]) / _RANK)
        for name, t in base.items()
        if name.startswith("h.") and t.dim() == 2
    }
    learnt = [part.requires_grad_() for pair in adapters.values() for part in pair]
    optimiser = torch.optim.AdamW(learnt, 1e-3)
    for _ in range(steps):
        starts = torch.randint(len(tokens) - _CONTEXT - 1, (16,))
        batch = torch.stack([tokens[s : s + _CONTEXT + 1] for s in starts])
        logits = _gpt(base | _merged(base, adapters), batch[:, :-1])
        optimiser.zero_grad()
        functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
        optimiser.step()
    first, second = folder / "gpt2m_bf16.safetensors", folder / "gpt2m_lora.safetensors"
    save_file(_gpt2m(), first)
    with torch.no_grad():
        merged = {
            n: t.numpy().astype(ml_dtypes.bfloat16) for n, t in _merged(base, adapters).items()
        }
    save_file(_gpt2m() | merged, second)
    return first, second


def _gpt2m() -> Tensors:
    return load_file(asset("lm_gpt2m/gpt2m_bf16.safetensors"))


def _merged(
    base: dict[str, torch.Tensor], adapters: dict[str, tuple[torch.Tensor, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    return {name: base[name] + up @ down for name, (up, down) in adapters.items()}


def _gpt(weights: dict[str, torch.Tensor], ids: torch.Tensor) -> torch.Tensor:
    """Logits of the model that lm_gpt2m holds."""
    width, heads = weights["wte.weight"].shape[1], 6

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return functional.layer_norm(
            x, (width,), weights[f"{name}.weight"], weights[f"{name}.bias"]
        )

    count, length = ids.shape
    x = weights["wte.weight"][ids] + weights["wpe.weight"][:length]
    for layer in range(4):
        at = f"h.{layer}"
        parts = linear(norm(x, f"{at}.ln_1"), f"{at}.attn.c_attn").split(width, 2)
        query, key, value = (p.view(count, length, heads, -1).transpose(1, 2) for p in parts)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + linear(mixed.transpose(1, 2).reshape(count, length, width), f"{at}.attn.c_proj")
        inner = functional.gelu(linear(norm(x, f"{at}.ln_2"), f"{at}.mlp.c_fc"))
        x = x + linear(inner, f"{at}.mlp.c_proj")
    return norm(x, "ln_f") @ weights["wte.weight"].T


def minilm_moved(folder: Path) -> tuple[Path, Path]:
    """MiniLM in bfloat16 (45 MB), and with 2 % of its values moved by one ulp."""
    from bench.data.minilm import load_weights

    base = as_bfloat16(load_weights())
    first, second = folder / "minilm_bf16.safetensors", folder / "minilm_moved.safetensors"
    save_file(base, first)
    save_file(one_ulp(base), second)
    return first, second


PAIRS: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "bf16, 2 % moved one ulp": minilm_moved,
    "ResNet-20, two epochs on": fine_tuned_resnet20,
    "LoRA merged into bf16": merged_lora,
}
