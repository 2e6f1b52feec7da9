"""Named coded tensors to one verified file and back; docs/format.md has every byte."""

from taut.container.atomic import AtomicFile, check_destination, write_file
from taut.container.atomic_folder import check_folder, made_file, made_folder, scratch_folder
from taut.container.find import find_file
from taut.container.format import SMALL, xxh3
from taut.container.index import Index, Origin, Pack, Record
from taut.container.integer_reader import IntegerReader
from taut.container.layout import Layout
from taut.container.opening import BaseSpec, ModelBase, open_base, open_taut
from taut.container.read import TautFile
from taut.container.row_reader import RowReader
from taut.container.sharded import ShardedFile
from taut.container.temporary import is_temporary
from taut.container.verify import VerifyReport, verify
from taut.container.write import Writer

__all__ = [
    "SMALL",
    "AtomicFile",
    "BaseSpec",
    "Index",
    "IntegerReader",
    "Layout",
    "ModelBase",
    "Origin",
    "Pack",
    "Record",
    "RowReader",
    "ShardedFile",
    "TautFile",
    "VerifyReport",
    "Writer",
    "check_destination",
    "check_folder",
    "find_file",
    "is_temporary",
    "made_file",
    "made_folder",
    "open_base",
    "open_taut",
    "scratch_folder",
    "verify",
    "write_file",
    "xxh3",
]
