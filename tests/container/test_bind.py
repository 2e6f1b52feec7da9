"""Header and index behind valid checksums must agree, whatever they claim."""

from __future__ import annotations

import numpy as np
import pytest

import taut
from taut.container import TautFile
from taut.container.format import xxh3
from taut.errors import FormatError, TautError

from ..attacks.forge import Forgery
from .conftest import same
from .forge import forge


@pytest.fixture
def first(file):
    """The file as version 1 of the format has it, where all is said of each tensor."""
    file.write_bytes(Forgery.of(file.read_bytes()).first())
    return file


def tensor(tree, name):
    return next(record for record in tree["tensors"] if record["name"] == name)


def change(name, **changes):
    return lambda tree: tensor(tree, name).update(changes)


def test_a_forgery_without_changes_is_sound(file, arrays):
    forge(file)
    assert taut.verify(file).tensors == len(arrays)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lambda t: t["tensors"].append(tensor(t, "coded")), '"coded": is in the index twice'),
        (lambda t: t["tensors"].remove(tensor(t, "noise")), 'entry "noise" is in the header, not'),
        (change("coded", shape=[1 << 30, 1 << 30]), '"coded": 4611686018427387904 bytes; at most'),
        (change("half", shape=[1 << 48] * 30), '"half": shape'),
        (change("half", shape=[96, 129]), "has 24768 bytes, but its array header says 24576"),
        (change("coded", dtype="F33"), 'unknown dtype "F33"'),
        (change("half", dtype="F64"), "has 98304 bytes"),
        (change("coded", dtype="F4", shape=[3]), "ends inside a byte"),
        (change("coded", parts=[[1, "0" * 16]]), "1 parts of 1 bytes do not fill"),
        (change("coded", parts=[[1 << 48, "0" * 16]] * 3), "do not fill"),
        (change("noise", shape=[130, 128]), r"is U8 \[130, 128\] in the index, U8 \[130, 127\]"),
        (change("noise", **{"as": "I8"}), r"is I8 \[130, 127\] in the index"),
        (change("noise", dtype="F4", shape=[2], **{"as": "U8"}), "U8 cannot be cast to F4"),
        (change("bias", solid=9), "solid group 9 of 3"),
        (change("bias", solid=1), "is F32, its solid group"),
        (change("copy", of="copy"), '"copy" carries no data'),
        (change("copy", of="gone"), '"gone" carries no data'),
        (change("copy", of="half"), 'differs in dtype or shape from "half"'),
        (change("copy", shape=[128, 96]), "differs in dtype or shape"),
    ],
)
def test_an_index_that_lies_is_refused(file, index, message):
    forge(file, index=index)
    for check in (taut.verify, lambda path: TautFile(path).load_all()):
        with pytest.raises(FormatError, match=message) as caught:
            check(file)
        assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lambda t: t["solids"].append(t["solids"][0]), "has no entry in the header"),
        (change("bias", at=3), "byte 3 of a solid group is no place"),
        (change("bias", at=1 << 40), "is no place"),
        (change("bias", at=8), "ends at byte 28 of a solid group of 24"),
        (change("coded", store="packed"), "unknown store 'packed'"),
        (lambda t: t.update(version=2), "version 2, but the header says 1"),
        (lambda t: t["source"].update(files=[{"name": "a"}]), 'files 0: no "header"'),
    ],
)
def test_an_index_of_version_1_that_lies_is_refused(first, index, message):
    assert taut.verify(first).tensors == 9
    forge(first, index=index)
    for check in (taut.verify, lambda path: TautFile(path).load_all()):
        with pytest.raises(FormatError, match=message):
            check(first)


def pack(number, **changes):
    return lambda tree: tree["packs"][number].update(changes)


def group(number, **changes):
    return lambda tree: tree["solids"][number].update(changes)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (group(0, pack=1), '"taut.solid.F32": is in pack 1 of 1'),
        (group(0, lengths=[1]), "pack 0: 1 parts of .* bytes do not fill its"),
        (group(0, lengths=[1 << 48] * 3), "1 parts of 8444249301.* bytes do not fill its"),
        (group(0, lengths=[]), "no parts"),
        (group(0, dtype="F33"), '"taut.solid.F32": unknown dtype "F33"'),
        (group(0, name="coded"), '"coded": has the name of a solid group'),
        (group(0, name="taut.solid.I64"), "two solid groups have the same name"),
        (group(0, sum="0" * 16), "unknown key 'sum'"),
        (group(0, pack=None), '"pack" is not an integer'),
        (pack(0, name="more", checksum="0" * 16), "has no entry in the header"),
        (pack(0, name="noise", checksum="0" * 16), "is coded, but U8"),
        (lambda t: t["packs"][0].pop("checksum"), 'index: pack 0: no "checksum"'),
        (pack(0, name="x"), "pack 0: has no entry in the header"),
        (pack(0, sum="0"), '"sum" is not 16'),
        (lambda t: t.update(packs=[]), "is in pack 0 of 0"),
        (lambda t: t.update(packs=t["packs"] * 2), "pack 1: has no entry in the header"),
        (change("bias", dtype="F33"), 'tensor "bias": unknown dtype "F33"'),
        (change("bias", shape=[7]), "ends at byte 28 of a solid group of 24"),
    ],
)
def test_a_pack_that_lies_is_refused(file, index, message):
    forge(file, index=index)
    for check in (taut.verify, lambda path: TautFile(path).load_all()):
        with pytest.raises(FormatError, match=message):
            check(file)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (group(0, lengths=[1]), "its members have .* bytes, after the index there are"),
        (pack(0, name="x", checksum="0" * 16), "pack 0: has no entry in the header"),
        (lambda t: t["packs"].append(t["packs"][0]), "its members have 0 bytes, after the index"),
        (lambda t: t.update(packs=[], solids=[], tensors=[]), "bytes after the end of the stream"),
        (group(0, lengths=[2000] * 8), "its members have .* bytes, after the index there are"),
    ],
)
def test_a_pack_after_the_index_that_lies_is_refused(arrays, tmp_path, index, message):
    path = tmp_path / "small"
    taut.compress({"bias": arrays["bias"], "steps": arrays["steps"]}, path)
    forge(path)
    assert taut.verify(path).tensors == 2
    forge(path, index=index)
    with pytest.raises(FormatError, match=message):
        taut.verify(path)


def test_a_sum_of_a_pack_that_lies_names_its_members(file):
    forge(file, index=pack(0, sum="0" * 16))
    with pytest.raises(TautError, match=r'packed tensors "taut\.solid\.F32", "taut'):
        taut.verify(file)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (lambda e: e.append(["more", "U8", (8,), bytes(8)]), 'entry "more" is in the header, not'),
        (lambda e: e.pop(0), "has no entry in the header"),
        (lambda e: e[0].__setitem__(0, "other"), '"coded": has no entry'),
        (lambda e: e[0].__setitem__(1, "I8"), '"coded": is coded, but I8'),
        (lambda e: e[0].__setitem__(3, e[0][3] + bytes(8)), "dtype|shape"),
        (
            lambda e: e.__setitem__(0, ["coded", "U8", (len(e[0][3]) + 8,), e[0][3] + bytes(8)]),
            "do not fill",
        ),
    ],
)
def test_a_header_that_lies_is_refused(file, entries, message):
    forge(file, entries=entries)
    with pytest.raises(FormatError, match=message):
        TautFile(file)


def test_unknown_keys_of_the_source_are_let_be_and_a_sum_that_lies_is_found(file, arrays):
    forge(file, index=lambda tree: tree["source"].update(made="by hand"))
    assert same(TautFile(file)["coded"], arrays["coded"])
    forge(file, index=change("coded", sum="0" * 16))
    with pytest.raises(TautError, match='"coded" decodes to values that do not match'):
        taut.verify(file)


def test_a_stream_that_lies_behind_its_checksum_names_its_tensor(file):
    def spoil(entries):
        raw = bytearray(entries[0][3])
        raw[:4] = b"\xff\xff\xff\xff"
        entries[0][3] = bytes(raw)

    def mend(tree):
        parts = tensor(tree, "coded")["parts"]
        begin = TautFile(file).contents.places["coded"].entry.start
        piece = bytearray(file.read_bytes()[begin : begin + parts[0][0]])
        piece[:4] = b"\xff\xff\xff\xff"
        parts[0][1] = xxh3(bytes(piece))

    forge(file, index=mend, entries=spoil)
    with pytest.raises(FormatError, match='tensor "coded"'):
        TautFile(file)["coded"]
    with pytest.raises(FormatError, match='tensor "coded"'):
        TautFile(file).load_all()


def test_an_alias_may_come_before_its_tensor(file, arrays):
    forge(file, index=lambda tree: tree["tensors"].reverse())
    whole = TautFile(file).load_all()
    assert list(whole) == list(arrays)[::-1]
    assert same(whole["copy"], arrays["coded"])


def test_memory_that_cannot_be_had_is_no_crash(tmp_path):
    path = tmp_path / "zeros"
    taut.compress({"w": np.zeros((1000, 1000), np.float32)}, path)
    forge(path, index=change("w", shape=[1 << 20, 1 << 26]))
    with pytest.raises(FormatError, match="has 281474976710656 bytes, but its array header"):
        TautFile(path)["w"]
