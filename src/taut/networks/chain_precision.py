"""Whether the blocks of a network in half precision run in float32, one of them at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taut.networks.chain import Chain
from taut.networks.cuts import first_sample
from taut.networks.precision import held_tensors, placed

if TYPE_CHECKING:
    import torch


def outside(chain: Chain) -> list[torch.Tensor]:
    """The tensors of a network that none of its blocks has."""
    inside = {id(one) for block in chain.blocks for one in held_tensors(block)}
    return [one for one in held_tensors(chain.network) if id(one) not in inside]


def runs_wide(chain: Chain, batch: object, device: torch.device | None = None) -> bool:
    """Whether each part runs in float32: one that names the narrow type itself does not."""
    import torch

    front, sample = outside(chain), first_sample(batch)
    try:
        with torch.no_grad():
            with placed(front, device):
                entered = chain.enter(sample)
            hidden = entered.hidden
            for index, block in enumerate(chain.blocks):
                with placed(held_tensors(block), device):
                    hidden = chain.run(index, entered, hidden.float())
            with placed(front, device):
                chain.leave(sample, hidden)
    except Exception:  # whatever the network makes of values of another type
        return False
    return True
