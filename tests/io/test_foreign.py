"""Files of other frameworks are told what they are, with a line that leads on."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import taut
from taut import FormatError
from taut.errors import ArgumentError, TautError
from taut.io import open_source

FILES = {
    "model.keras.h5": (b"\x89HDF\r\n\x1a\n" + bytes(60), "model.weights"),
    "net.tflite": (b"\x1c\0\0\0TFL3" + bytes(60), "tf2onnx.convert --tflite net.tflite"),
    "frozen.pb": (b"\x0a\x20" + bytes(range(200)), "tf2onnx.convert --graphdef frozen.pb"),
    "flax_model.msgpack": (b"\x81\xa6params" + bytes(range(99)), "flatten_dict"),
    "trees.ubj": (b"{L\0\0" + bytes(range(99)), "XGBoost"),
    "net.mlmodel": (bytes(range(1, 99)), "Core ML"),
    "old.bin": (b"lmgg" + bytes(range(99)), "GGUF"),
    "ir.xml": (b'<?xml version="1.0"?>\n<net name="n" version="11">', "OpenVINO"),
    "net.py": (b"def model():\n    pass\ndef score(net):\n    pass\n", "net.py:model"),
}
FOLDERS = {"saved_model.pb": "--saved-model ", "_CHECKPOINT_METADATA": "Orbax"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_with_what_leads_on(name: str, tmp_path: Path) -> None:
    content, told = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TautError, match=re.escape(told)):
        open_source(tmp_path / name)


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_is_named_by_what_is_in_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x08\x01")
    with pytest.raises(ArgumentError, match=FOLDERS[name]):
        open_source(tmp_path)


def test_code_names_functions_that_need_no_arguments_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_bytes(FILES["net.py"][0])
    with pytest.raises(FormatError) as caught:
        open_source(tmp_path / "net.py")
    assert "net.py:score" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_pickle_of_another_package_is_named_without_pytorch(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickle, "load", pytest.fail)
    (tmp_path / "forest.joblib").write_bytes(_pickle_of_a_class(protocol))
    with pytest.raises(FormatError, match=r"of sklearn \(sklearn.ensemble._forest.Forest\)"):
        open_source(tmp_path / "forest.joblib")
    (tmp_path / "arrays.pkl").write_bytes(pickle.dumps({"w": np.ones(3)}, protocol))
    with pytest.raises(FormatError, match=r'pickle.load\(open\("arrays.pkl", "rb"\)\)'):
        open_source(tmp_path / "arrays.pkl")


def _pickle_of_a_class(protocol: int) -> bytes:
    """A pickle that names sklearn.ensemble._forest.Forest, as it does from a protocol on."""
    module, name = b"sklearn.ensemble._forest", b"Forest"
    if protocol < 4:
        return b"\x80\x02c" + module + b"\n" + name + b"\n."
    texts = (b"\x8c" + bytes([len(one)]) + one + b"\x94" for one in (module, name))
    return bytes([0x80, protocol]) + b"".join(texts) + b"\x93."


def test_what_is_advised_of_numpy_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.savez("a.npz", w=weights)
    np.save("b.npy", weights)
    for name in ("a.npz", "b.npy"):
        with pytest.raises(FormatError) as caught:
            open_source(name)
        line = str(caught.value).partition("from Python: ")[2]
        eval(line, {"taut": taut, "numpy": np})
        packed = taut.load(f"{name[0]}.taut.safetensors")
        assert np.array_equal(packed["w"], weights)
