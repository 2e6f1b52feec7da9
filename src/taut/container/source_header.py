"""The header that a safetensors writer gives to tensors: it need not be stored to be had again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from taut.container.format import header_entry, padding
from taut.container.index import Record
from taut.errors import FormatError
from taut.io.dtypes import tensor_nbytes


def rebuild_header(records: Iterable[Record], metadata: Mapping[str, str]) -> str:
    """The text of the header of a file of all these tensors, in their order, end to end.

    Most writers of safetensors make it so: JSON without white space, `__metadata__` first if
    there is any, the entries in the order of their data, and spaces up to a multiple of 8.

    Raises:
        FormatError: a tensor has no size; names it.
    """
    texts, end = [], 0
    if metadata:
        text = json.dumps(dict(metadata), ensure_ascii=False, separators=(",", ":"))
        texts.append(f'"__metadata__":{text}')
    for record in records:
        begin = end
        try:
            end += tensor_nbytes(record.dtype, record.shape)
        except FormatError as error:
            raise FormatError(f'index: tensor "{record.name:.200}": {error}') from None
        texts.append(header_entry(record.name, record.dtype, record.shape, begin, end))
    header = "{" + ",".join(texts) + "}"
    return header + " " * padding(len(header.encode()))
