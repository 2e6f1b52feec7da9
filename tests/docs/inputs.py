"""The files that pages begin with, small: a page names them in words and in a comment."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.forge_gguf import small_model

from .snippets import ROOT, read_page

WORDS: Final = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "and", "far", "away", "home"]


def make(name: str, folder: Path) -> None:
    """Make the file (or folder) of this name in the folder.

    Raises:
        KeyError: this module knows no such file.
    """
    made = {
        "build.py": _build,
        "model.safetensors": _weights,
        "model.onnx": _graph,
        "model.gguf": _blocks,
        "net.onnx": _graph,
        "data.npz": _arrays,
        "texts.txt": _texts,
        "state.pt": _state,
        "model_folder": _bert,
        "digits.py": lambda path: _shown("docs/guide/why.md", path),
        "task.py": lambda path: _shown("docs/guide/practice.md", path),
        "digits.safetensors": _trained_digits,
    }
    made[name](folder / name)


def _build(path: Path) -> None:
    shutil.copyfile(ROOT / "examples" / "build.py", path)


def _shown(page: str, path: Path) -> None:
    """A file that a page shows whole, as the guide's digits.py."""
    (shown,) = [one for one in read_page(page).snippets if one.file == path.name]
    path.write_text(shown.text, encoding="utf-8")


def _trained_digits(path: Path) -> None:
    path.write_bytes(_digits_weights())


@cache
def _digits_weights() -> bytes:
    """What digits.py keeps of its training, which takes seconds: once for all pages."""
    with tempfile.TemporaryDirectory() as folder:
        names: dict[str, Any] = {"__name__": "digits"}
        file = Path(folder) / "digits.py"
        _shown("docs/guide/why.md", file)
        exec(compile(file.read_text(encoding="utf-8"), file, "exec"), names)
        with contextlib.chdir(folder):
            names["model"]()
        return (Path(folder) / "digits.safetensors").read_bytes()


def _weights(path: Path) -> None:
    from safetensors.numpy import save_file

    shapes = {"first.weight": (128, 64), "first.bias": (128,), "last.weight": (96, 128)}
    save_file({name: _random(*shape) for name, shape in shapes.items()}, path)


def _state(path: Path) -> None:
    import torch

    torch.save({"a.weight": torch.from_numpy(_random(96, 64)), "a.bias": torch.zeros(96)}, path)


def _blocks(path: Path) -> None:
    path.write_bytes(small_model().data())


def _graph(path: Path) -> None:
    """Two matrices and a bias between the input `x` of 64 columns and the output `y` of 48."""
    import onnx
    from onnx import helper, numpy_helper

    shapes = {"a": (64, 96), "b": (96, 48), "c": (48,)}
    weights = [numpy_helper.from_array(_random(*shape), name) for name, shape in shapes.items()]
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "b", "c"], ["y"], name="last"),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", width])
        for name, width in (("x", 64), ("y", 48))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)


def _arrays(path: Path) -> None:
    np.savez(path, x=_random(128, 64))


def _texts(path: Path) -> None:
    generator = np.random.default_rng(0)
    lines = [" ".join(generator.choice(WORDS, length)) for length in range(3, 15) for _ in range(2)]
    path.write_text("\n".join(lines) + "\n")


def _bert(folder: Path) -> None:
    """A BERT and a tokenizer of a dozen words."""
    import tokenizers
    import torch
    import transformers

    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", *WORDS])}
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=48, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=96, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]"
    ).save_pretrained(folder)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)
