"""What is opened reads as safetensors' `safe_open` does, and decodes no more than was asked for."""

import io

import numpy as np
import pytest

import taut
from taut.container import open_taut
from taut.errors import ArgumentError


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(0)
    large = rng.normal(size=(8192, 128)).astype("f4")
    return {
        "large": large,
        "small": large[:4, :4].copy(),
        "scalar": np.array(3.0),
        "i": np.arange(7),
    }


@pytest.fixture(scope="module")
def path(weights, tmp_path_factory):
    path = tmp_path_factory.mktemp("reader") / "m.taut.safetensors"
    taut.save_file(weights, path, {"format": "np"})
    return path


INDEXES = [
    *(np.s_[5:9], np.s_[-1], np.s_[::1000], np.s_[::-1000], np.s_[1:1], np.s_[:, 3:5], np.s_[7, 3]),
    *(
        np.s_[..., 0],
        np.s_[[1, 2]],
        np.s_[:5, None],
        np.s_[100:300:7, ::2],
        np.s_[9000:],
        np.s_[()],
    ),
    *(np.s_[np.int64(3)], np.s_[-5:-2, -1]),
]


@pytest.mark.parametrize("index", INDEXES, ids=str)
def test_a_slice_is_what_the_array_gives(path, weights, index):
    with taut.load(path) as file:
        found = file.get_slice("large")[index]
    wanted = weights["large"][index]
    assert found.shape == np.shape(wanted)
    assert np.array_equal(found, wanted)


def test_a_slice_decodes_no_more_than_its_rows(path, weights):
    file = open_taut(path)
    decoded = []
    file.fetcher.tell = decoded.append
    part = file.get_slice("large")
    assert (part.get_shape(), part.get_dtype()) == ([8192, 128], "F32")
    assert np.array_equal(part[4000:4010], weights["large"][4000:4010])
    assert 0 < sum(decoded) < weights["large"].nbytes / 2


def test_small_and_odd_tensors_slice_too(path, weights):
    with taut.load(path) as file:
        assert np.array_equal(file.get_slice("small")[1:3], weights["small"][1:3])
        assert file.get_slice("scalar")[...] == 3.0
        assert file.get_slice("i")[-2:].tolist() == [5, 6]
        with pytest.raises(IndexError) as caught:
            file.get_slice("i")[7]
        assert str(caught.value) == "row 7 of a tensor of shape [7]"


def test_the_words_of_safe_open(path, weights):
    with taut.load(path) as file:
        assert list(file.keys()) == file.offset_keys() == list(weights)
        assert file.keys()[0] == "large"
        assert file.metadata() == {"format": "np"}
        assert np.array_equal(file.get_tensor("i"), weights["i"])
        assert list(file.get_tensors(["i", "small"])) == ["i", "small"]
        assert file.get("nothing") is None
        with pytest.raises(ArgumentError, match='no tensor "smal"; nearest: small') as caught:
            file.get_slice("smal")
        assert isinstance(caught.value, KeyError)
        assert repr(file) == f"<TautFile {path}: 4 tensors>"


@pytest.mark.parametrize("framework", ["numpy", "pt"])
def test_after_the_block_the_file_is_closed_and_what_was_decoded_stays(path, weights, framework):
    with taut.load(path, framework=framework) as file:
        small = file["small"]
    assert np.array_equal(np.asarray(small), weights["small"])
    with pytest.raises(ArgumentError, match="is closed; open it again"):
        file["large"]
    file.close()  # once more is no matter


def test_torchs_tensors_come_in_the_dtype_and_on_the_device(path, weights):
    import torch

    with taut.load(path, framework="pt", device="cpu", dtype="bfloat16") as file:
        assert (file["small"].dtype, file["i"].dtype) == (torch.bfloat16, torch.int64)
        part = file.get_slice("large")[10:12, [1, 2]]
        assert part.shape == (2, 2) and part.dtype == torch.bfloat16
        assert file.metadata() == {"format": "np"}
    assert isinstance(taut.load_file(path, "cpu")["i"], torch.Tensor)
    assert taut.load(path, device="meta")["large"].is_meta
    assert taut.load_file(path, dtype=torch.float16)["small"].dtype == torch.float16


def test_arrays_come_in_the_dtype(path, weights):
    found = taut.load_file(path, dtype="float16")
    assert (found["small"].dtype, found["i"].dtype) == (np.float16, np.int64)
    assert str(taut.load(path, dtype="bfloat16")["small"].dtype) == "bfloat16"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"framework": "tf"}, 'framework \'tf\' is unknown; "numpy" or "pt"; arrays of numpy go'),
        ({"framework": "numpi"}, "nearest: numpy"),
        ({"framework": 3}, "framework 3 is unknown"),
        ({"framework": "np", "device": "cpu"}, "device: is for torch's tensors"),
        ({"device": "gpu"}, "device: 'gpu' cannot be used here"),
        ({"dtype": "int8"}, "dtype: 'int8' is no dtype of floats"),
        ({"framework": "pt", "dtype": "x"}, "dtype: 'x' is no dtype of floats"),
    ],
)
def test_what_cannot_be_given_is_told(path, given, told):
    with pytest.raises(ArgumentError) as caught:
        taut.load(path, **given)
    assert told in str(caught.value)


def test_a_module_has_its_own_device_and_dtype(path):
    import torch

    with pytest.raises(ArgumentError, match=r"dtype: a module has its own.*module.to\(dtype"):
        taut.load(path, into=torch.nn.Linear(2, 2), dtype="float16")


def test_save_file_replaces_and_keeps_texts(weights):
    first, second = io.BytesIO(), io.BytesIO()
    taut.save_file(weights, first, {"format": "np", "who": "me"})
    taut.decompress(first, second)
    from safetensors.numpy import load as plain

    assert plain(second.getvalue())["i"].tolist() == weights["i"].tolist()
    assert b'"who":"me"' in second.getvalue()[:200].replace(b'": "', b'":"')
    for metadata, told in ((3, "metadata: a int"), ({"a": 1}, "metadata: 'a': 1 is not a text")):
        with pytest.raises(ArgumentError, match=told):
            taut.save_file(weights, io.BytesIO(), metadata)
    with pytest.raises(ArgumentError, match="tensors: a list; give a dict"):
        taut.save_file([1], io.BytesIO())
