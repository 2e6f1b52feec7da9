"""What a file remembers of the model that it was made of."""

from __future__ import annotations

from pathlib import Path

from taut.container import Origin
from taut.encoding.on_base import base_under
from taut.io import Source
from taut.io.names import as_text
from taut.io.quantized import remembered


def origin_of(source: Source) -> Origin:
    """What the file is to remember of its source."""
    texts: tuple[tuple[str, str], ...] = ()
    path = Path(source.identity)
    if source.files and path.name.endswith(".index.json"):  # shards: their index is needed again
        texts = ((as_text(path.name), path.read_bytes().decode()),)
    files = tuple((as_text(file.name), file.header) for file in source.files)
    base = as_text(based.base.name) if (based := base_under(source)) else ""
    quantization = remembered(source).text
    return Origin(
        source.nbytes, source.metadata, files, texts, quantization=quantization, base=base
    )
