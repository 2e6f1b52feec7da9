"""Open files and bytes are models to every verb, and tell what is wrong with them at once."""

import io
import json

import numpy as np
import pytest
from safetensors.numpy import load as plain_load

import taut
from taut.errors import ArgumentError, FormatError


class Pipe(io.RawIOBase):
    """What neither seeks nor tells, as a socket."""

    def __init__(self, data=b""):
        self.data = io.BytesIO(data)

    def readable(self):
        return True

    def writable(self):
        return True

    def readinto(self, buffer):
        return self.data.readinto(buffer)

    def write(self, data):
        return self.data.write(data)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    return {"w": rng.normal(size=(64, 64)).astype("f4"), "i": np.arange(5)}


@pytest.fixture(scope="module")
def packed(weights):
    out = io.BytesIO()
    taut.compress(weights, out)
    return out.getvalue()


def test_what_goes_out_comes_in_again_without_a_rewind(weights):
    out = io.BytesIO()
    result = taut.compress(weights, out)
    assert result.size == len(out.getvalue())
    assert str(result.path) == "<BytesIO>"
    for _ in range(2):  # the stream is left where it stood
        with taut.load(out) as file:
            assert np.array_equal(file["w"], weights["w"])
    assert out.tell() == result.size


def test_every_verb_reads_a_stream(weights, packed, tmp_path):
    assert taut.info(io.BytesIO(packed)).parameters == 4096 + 5
    assert taut.verify(packed).tensors == 2
    assert taut.load_file(bytearray(packed))["i"].tolist() == [0, 1, 2, 3, 4]
    assert taut.diff(io.BytesIO(packed), weights).alike
    plain = io.BytesIO()
    taut.decompress(io.BytesIO(packed), plain)
    header = int.from_bytes(plain.getvalue()[:8], "little")
    assert list(json.loads(plain.getvalue()[8 : 8 + header])) == ["w", "i"]
    assert taut.analyze(io.BytesIO(plain.getvalue())).parameters == 4096 + 5
    assert taut.plan(io.BytesIO(plain.getvalue()), bits="4").target.bits == 4
    again = io.BytesIO()
    taut.compress(io.BytesIO(plain.getvalue()), again, scheme="int8")
    assert len(again.getvalue()) < 0.5 * len(packed)
    taut.export(io.BytesIO(packed), out := io.BytesIO(), to="safetensors")
    taut.export(io.BytesIO(packed), out := io.BytesIO(), to="safetensors")
    assert plain_load(out.getvalue())["i"].tolist() == [0, 1, 2, 3, 4]


def test_a_stream_is_read_from_where_it_stands(packed):
    stream = io.BytesIO(b"head" + packed)
    stream.seek(4)
    assert taut.info(stream).size == len(packed)
    assert stream.tell() == 4


def test_what_does_not_seek_is_read_and_written(weights, packed):
    assert np.array_equal(taut.load(Pipe(packed))["w"], weights["w"])
    pipe = Pipe()
    taut.compress(weights, pipe)
    assert pipe.data.getvalue() == packed


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (lambda: io.BytesIO(), "<BytesIO>: holds nothing"),
        (lambda: b"", "<bytes>: holds nothing"),
        (lambda: io.StringIO("x"), "<StringIO>: is a stream of text"),
        (lambda: _closed(io.BytesIO(b"x")), "<BytesIO>: is closed"),
    ],
)
@pytest.mark.parametrize("verb", ["info", "load", "verify", "decompress", "compress", "analyze"])
def test_a_bad_stream_is_named_for_what_it_is(verb, stream, told):
    with pytest.raises(ArgumentError) as caught:
        getattr(taut, verb)(stream())
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        (lambda path: io.StringIO(), "text"),
        (lambda path: _closed(io.BytesIO()), "closed"),
        (lambda path: path.open("rb"), "cannot be written to"),
        (lambda path: b"x", "cannot be written to"),
    ],
)
def test_a_bad_place_is_refused_before_the_work(weights, tmp_path, stream, told):
    path = tmp_path / "x"
    path.write_bytes(b"")
    seen = []
    with pytest.raises(ArgumentError, match=told):
        taut.compress(weights, stream(path), progress=lambda *step: seen.append(step))
    assert seen == []


def test_a_failure_leaves_the_stream_as_it_was(weights):
    out = io.BytesIO()
    with pytest.raises(taut.TautError):
        taut.compress(weights, out, size="400x")
    assert out.getvalue() == b""


def test_damage_in_a_stream_names_the_stream(packed):
    with pytest.raises(FormatError) as caught:
        taut.load(io.BytesIO(packed[:-1]))
    assert str(caught.value).startswith("<BytesIO>")


def test_several_files_go_to_no_stream_and_a_run_from_none_is_not_resumed(weights, packed):
    with pytest.raises(ArgumentError, match="beside its output, which is a stream"):
        taut.compress(weights, io.BytesIO(), resume=True)
    with pytest.raises(ArgumentError, match="is not on this machine; say where to write"):
        taut.decompress(packed)
    with pytest.raises(ArgumentError, match='to: an open file has no suffix; give to="safeten'):
        taut.export(packed, io.BytesIO())
    with pytest.raises(ArgumentError, match="dst: a dict has no name; say where to write"):
        taut.compress(weights)


def _closed(stream):
    stream.close()
    return stream
