"""What a file holds, by its first bytes: its name may promise another thing, or nothing.

Downloads leave pointers, pages and errors under the names of weights, and caches keep files under
names that are sums. So content decides, and what is no model is named for what it is.
"""

from __future__ import annotations

import re
import zipfile
from itertools import islice
from pathlib import Path
from typing import Final, Literal, TypeAlias

from taut.errors import ArgumentError, FormatError
from taut.io._onnx_wire import LENGTH, VARINT, fields
from taut.io.foreign import ARRAYS, KERAS, MAGIC, filled, refuse_code, why_openvino
from taut.io.stamp import StillFile

Kind: TypeAlias = Literal["safetensors", "checkpoint", "onnx", "gguf"]

FIRST: Final = 1024  # bytes that are looked at

_AGAIN: Final = "what was fetched is no model; fetch it again"
_UNFINISHED: Final = "what wrote or fetched it did not finish; fetch it again"
_UNPACK: Final = "unpack it first"
_MAGIC: Final = (
    *MAGIC,
    (b"\x1f\x8b", 0, f"compressed by gzip; {_UNPACK}"),
    (b"\xfd7zXZ", 0, f"compressed by xz; {_UNPACK}"),
    (b"BZh", 0, f"compressed by bzip2; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", 0, f"compressed by zstd; {_UNPACK}"),
    (b"7z\xbc\xaf", 0, f"a 7z archive; {_UNPACK}"),
    (b"ustar", 257, f"a tar archive; {_UNPACK}"),
)
_MARK: Final = b"\xef\xbb\xbf"  # of UTF-8
_PAGE: Final = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<body|<\?xml|<error)", re.I)
_TITLE: Final = re.compile(rb"<(?:title|message)[^>]*>\s*([^<]{1,80})", re.I)
_SHOWN: Final = 80  # characters of a text
_FIELDS: Final = 64  # of a protobuf message, within which ONNX has its version and graph


def first_bytes(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        ArgumentError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(FIRST)
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror})") from error


def kind_of(path: Path) -> Kind | None:
    """What a file holds; None where neither its bytes nor what they cannot be tell it.

    Raises:
        FormatError: it is no model, or of a format that is not read; the message says what it is.
        ArgumentError: it cannot be read.
    """
    first = first_bytes(path)
    refuse_code(path)
    # First, since the length that it begins with may look like anything: 640 is a pickle's mark.
    if first[8:9] == b"{" and int.from_bytes(first[:8], "little") <= path.stat().st_size - 8:
        return "safetensors"
    if (why := why_foreign(first, path)) is not None:
        raise FormatError(f"{path}: {why}")
    if first.startswith(b"GGUF"):
        return "gguf"
    if first.startswith(b"PK\x03\x04"):
        return _of_archive(path)
    if len(first) > 1 and first[0] == 0x80 and 2 <= first[1] <= 5:  # a pickle begins so
        return "checkpoint"
    return "onnx" if _is_onnx(path) else None


def why_not_fetched(first: bytes) -> str | None:
    """What a file that begins so is, if a download left a pointer or a page for it; else None.

    >>> why_not_fetched(b"version https://git-lfs.github.com/spec/v1\\noid sha256:0\\nsize 12\\n")
    'is a Git LFS pointer, not the weights; run `git lfs pull`'
    """
    if first.startswith((b"version https://git-lfs", b"version https://hawser")):
        return "is a Git LFS pointer, not the weights; run `git lfs pull`"
    if _text_of(first) is None or not _PAGE.match(first.removeprefix(_MARK)):
        return None
    title = _TITLE.search(first)
    named = f' ("{title[1].decode(errors="replace").strip()}")' if title else ""
    return f"is a web page{named}, not the weights: {_AGAIN}, perhaps after a login"


def why_foreign(first: bytes, path: Path) -> str | None:
    """What a file that begins so is, and what to do, where it is no model; else None.

    >>> why_foreign(b"\\x1f\\x8b\\x08", Path("model.bin"))
    'is compressed by gzip; unpack it first'
    """
    if (why := why_openvino(first)) is not None:
        return why
    if (why := why_not_fetched(first)) is not None:
        return why
    if not first or first == bytes(FIRST):
        return f"{'is zeros at its beginning' if first else 'is empty (0 bytes)'}: {_UNFINISHED}"
    for magic, at, what in _MAGIC:
        if first[at : at + len(magic)] == magic:
            return f"is {filled(what, path)}"
    text = _text_of(first)
    if text is None:
        return None
    kind = "a JSON text" if text[:1] in ("{", "[") else "a text"
    return f"is {kind}, not the weights ({_shown(text)}): {_AGAIN}"


def _text_of(first: bytes) -> str | None:
    """The beginning as text; None if it is none, or too short to tell."""
    whole = first.removeprefix(_MARK)
    if len(whole) < 2 or any(byte < 32 and byte not in b"\t\n\r\f" for byte in whole):
        return None
    try:  # the last character may be cut off
        text = whole.decode() if len(first) < FIRST else whole.decode(errors="ignore")
    except UnicodeDecodeError:
        return None
    return text.strip() or None


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


def _of_archive(path: Path) -> Kind:
    """That a zip archive is a checkpoint.

    Raises:
        FormatError: it is something else; a damaged one passes, for torch to name the damage.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        return "checkpoint"
    inner = {name.partition("/")[2] or name for name in names}
    if "data.pkl" in inner and "constants.pkl" not in inner:
        return "checkpoint"
    raise FormatError(f"{path}: is {_archive_told(names, inner, path)}")


def _archive_told(names: list[str], inner: set[str], path: Path) -> str:
    """What an archive of other files is, and what to do."""
    trusted = "from Python, where you trust it"
    if "data.pkl" in inner:
        return (
            "a TorchScript archive, code with its weights; pass torch.jit.load(path), or its "
            f"state_dict(), {trusted}, or build.py:model with a function that gives it"
        )
    if names and all(name.endswith(".npy") for name in names):
        return filled(ARRAYS, path)
    if any(name.startswith(("models/", "data/weights")) for name in inner):
        return f"a program of torch.export; pass torch.export.load(path).state_dict {trusted}"
    if "model.weights.h5" in names:
        return filled(f"a model of Keras; {KERAS}", path)
    return f"a zip archive of {', '.join(sorted(names)[:4]) or 'nothing'}; {_UNPACK}"


def _is_onnx(path: Path) -> bool:
    """Whether a file is a protobuf message with ONNX's version and graph."""
    file = StillFile(path, str(path))
    try:
        found = {
            (one.number, one.wire)
            for one in islice(fields(file.map, 0, file.nbytes, str(path)), _FIELDS)
        }
    except FormatError:
        return False
    return {(1, VARINT), (7, LENGTH)} <= found
