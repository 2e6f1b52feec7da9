"""Numbers of many arrays end to end, which go to a device in one piece each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass
class EndToEnd:
    """Arrays of one dtype end to end; `put` says where one begins."""

    dtype: type[np.generic]
    parts: list[np.ndarray] = field(default_factory=list)
    size: int = 0

    def put(self, values: np.ndarray) -> int:
        """Append an array, flat; the number of the value that is its first."""
        at = self.size
        self.parts.append(np.ascontiguousarray(values, self.dtype).reshape(-1))
        self.size += values.size
        return at

    def on(self, device: torch.device, beyond: int = 0) -> torch.Tensor:
        """All of it on a device, with so many zeros behind, and at least one value."""
        behind = np.zeros(max(beyond, 1), self.dtype)
        return torch.from_numpy(np.concatenate([*self.parts, behind])).to(device)
