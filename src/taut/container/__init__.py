"""Named coded tensors to one verified file and back; docs/format.md has every byte."""

from taut.container.atomic import AtomicFile, check_destination
from taut.container.find import find_file
from taut.container.format import SMALL, xxh3
from taut.container.index import Index, Origin, Pack, Record
from taut.container.layout import Layout
from taut.container.read import TautFile
from taut.container.verify import VerifyReport, verify
from taut.container.write import Writer
from taut.machine.cores import checked_threads

__all__ = [
    "SMALL",
    "AtomicFile",
    "Index",
    "Layout",
    "Origin",
    "Pack",
    "Record",
    "TautFile",
    "VerifyReport",
    "Writer",
    "check_destination",
    "checked_threads",
    "find_file",
    "verify",
    "xxh3",
]
