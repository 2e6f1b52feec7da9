"""What is closed at the end of a `with` block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TypeVar

Self = TypeVar("Self", bound="Closing")


class Closing(ABC):
    """Gives itself to the block, and is closed by its end, whatever ends it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held."""

    def __enter__(self: Self) -> Self:
        """Give it itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()
