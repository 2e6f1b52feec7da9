"""Long work that goes on where it stopped: a folder of finished pieces beside what is made."""

from taut.journal.journal import Journal
from taut.journal.lock import Lock

__all__ = ["Journal", "Lock"]
