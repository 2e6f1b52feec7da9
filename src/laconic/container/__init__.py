"""Named coded tensors to one verified file and back; docs/format.md has every byte."""

from laconic.container.atomic import AtomicFile, check_destination
from laconic.container.cores import checked_threads
from laconic.container.find import find_file
from laconic.container.format import SMALL, xxh3
from laconic.container.index import Index, Origin, Pack, Record
from laconic.container.layout import Layout
from laconic.container.read import LaconicFile
from laconic.container.verify import VerifyReport, verify
from laconic.container.write import Writer

__all__ = [
    "SMALL",
    "AtomicFile",
    "Index",
    "LaconicFile",
    "Layout",
    "Origin",
    "Pack",
    "Record",
    "VerifyReport",
    "Writer",
    "check_destination",
    "checked_threads",
    "find_file",
    "verify",
    "xxh3",
]
