"""A folder of a low-bit checkpoint, as one that has floats: what any class of its network loads.

Loaders of low-bit weights are many, want an accelerator, and give layers without parameters. So
the floats are written to a temporary folder beside the config without its method, and are mapped
from there; where the system allows it their file has no name any more while the network lives.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from taut.container.model_folder import plain_config
from taut.container.plain_file import write_tensors
from taut.errors import ArgumentError
from taut.io import Source
from taut.io.quantized import are_floats
from taut.io.tensor_pieces import pieces_of


@contextmanager
def float_folder(folder: Path, source: Source) -> Iterator[Path]:
    """The folder itself, or one that stands for it where `source` reads its weights as floats.

    Raises:
        ArgumentError: there is no room for the floats.
    """
    if not are_floats(source):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="taut-", ignore_cleanup_errors=True) as temporary:
        whole = Path(temporary, folder.resolve().name)
        whole.mkdir()
        try:
            _fill(whole, folder, source)
        except OSError as error:
            raise ArgumentError(
                f"{folder}: its weights cannot be written as floats to {temporary} "
                f"({error.strerror}); name another folder by TMPDIR"
            ) from error
        yield whole


def _fill(whole: Path, folder: Path, source: Source) -> None:
    for path in source.companions:
        target = whole / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    config = whole / "config.json"
    if config.is_file():
        config.write_bytes(plain_config(Path("config.json"), config.read_bytes()))
    infos = {info.name: info for info in source.infos}

    def load(name: str) -> Iterable[np.ndarray]:
        return pieces_of(source, infos[name])

    write_tensors(whole / "model.safetensors", source.infos, load)
