"""Models that run: from folders, from code, from memory."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from taut.errors import ArgumentError
from taut.io import open_source
from taut.networks import open_model, run_batch

torch = pytest.importorskip("torch")


def test_a_folder_gives_the_class_that_its_config_names(bert_folder: Path) -> None:
    loaded = open_model(bert_folder)
    assert type(loaded.module).__name__ == "BertForMaskedLM"
    assert not loaded.module.training
    infos = open_source(loaded.source).infos
    assert set(loaded.names) == {info.name for info in infos}
    assert (loaded.unmapped, loaded.missing) == ((), ())
    assert loaded.names["bert.embeddings.word_embeddings.weight"] == (
        "bert.embeddings.word_embeddings.weight"
    )


def test_tokens_are_cut_where_the_network_ends(bert_folder: Path) -> None:
    loaded = open_model(str(bert_folder))
    assert loaded.tokenize is not None
    batch = loaded.tokenize(["the cat sat", "a dog " * 40])
    assert batch["input_ids"].shape == (2, 24)
    assert batch["attention_mask"].sum(1).tolist() == [3, 24]
    assert loaded.tokenize(["a dog " * 40], 5)["input_ids"].shape == (1, 5)
    assert run_batch(loaded.module, batch).logits.shape == (2, 24, 14)  # type: ignore[attr-defined]


def test_bfloat16_is_widened_and_a_tied_head_is_not_missing(gpt2_folder: Path) -> None:
    loaded = open_model(gpt2_folder)
    assert {p.dtype for p in loaded.module.parameters()} == {torch.float32}
    assert (loaded.unmapped, loaded.missing) == ((), ())
    assert loaded.tokenize is None
    name = "transformer.h.0.attn.c_attn.weight"
    assert np.array_equal(
        open_source(gpt2_folder).load(name).astype(np.float32),
        loaded.module.get_parameter(loaded.names[name]).detach().numpy(),
    )


def test_a_head_that_the_file_has_not_is_left_out(bert_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "bare"
    shutil.copytree(bert_folder, folder)
    state = load_file(folder / "model.safetensors")
    bare = {n.removeprefix("bert."): t for n, t in state.items() if n.startswith("bert.")}
    save_file({**bare, "extra.weight": torch.ones(2, 2)}, folder / "model.safetensors")
    loaded = open_model(folder)
    assert type(loaded.module).__name__ == "BertModel"
    assert loaded.names == {name: name for name in bare}
    assert loaded.unmapped == ("extra.weight",)
    assert set(loaded.missing) == {"pooler.dense.weight", "pooler.dense.bias"}


def test_an_architecture_that_is_none_falls_back(bert_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(bert_folder, folder)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace("BertForMaskedLM", "pipeline"))
    loaded = open_model(folder)
    assert type(loaded.module).__name__ == "BertModel"
    assert loaded.names["bert.encoder.layer.0.output.dense.bias"] == (
        "encoder.layer.0.output.dense.bias"
    )
    assert all(name.startswith("cls.") for name in loaded.unmapped)
    assert loaded.unmapped


def test_the_sentence_encoder_gives_embeddings(minilm: Path) -> None:
    pytest.importorskip("sentence_transformers")
    loaded = open_model(minilm)
    assert len(loaded.names) == len(open_source(minilm).infos)
    assert (loaded.unmapped, loaded.missing) == ((), ())
    assert loaded.tokenize is not None
    batch = loaded.tokenize(["A cat sat.", "A dog ran far away from home."])
    keys = set(batch)
    with torch.no_grad():
        found = run_batch(loaded.module, batch)
    assert set(batch) == keys, "the caller's batch is not written to"
    assert isinstance(found, torch.Tensor)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))
    again = loaded.module.encode(["A cat sat."])  # type: ignore[operator]
    assert np.allclose(again, found[:1].numpy(), atol=1e-5)


def test_a_file_of_code(resnet: Path) -> None:
    loaded = open_model(f"{resnet}:model")
    assert isinstance(loaded.source, torch.nn.Module)
    assert loaded.source is not loaded.module  # which may be changed while the other is stored
    assert not loaded.module.training
    assert loaded.names["1.bn.running_var"] == "1.bn.running_var"
    assert open_model(f"{resnet}:ready").names == loaded.names


def test_a_module_of_the_caller_is_copied() -> None:
    mine = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Dropout()).half()
    loaded = open_model(mine)
    assert loaded.source is mine
    assert mine.training
    assert mine[0].weight.dtype == torch.float16
    assert loaded.module is not mine
    assert not loaded.module.training


def test_a_module_that_cannot_be_copied() -> None:
    mine = torch.nn.Linear(2, 2)
    mine.handle = open(__file__)  # type: ignore[assignment]  # noqa: SIM115
    with pytest.raises(ArgumentError, match=r"Linear cannot be copied \(TypeError.*open files"):
        open_model(mine)
    mine.handle.close()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("def f(): return 3", "f", ":f: gave a int; it must give an nn.Module"),
        ("x = 3", "x", ":x: a int is no nn.Module, nor makes one"),
        ("def f(): raise OSError('no weights')", "f", "failed in line 1: OSError: no weights"),
    ],
)
def test_code_that_makes_no_model(
    code: Callable[..., Path], text: str, name: str, message: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        open_model(f"{code(text)}:{name}")
    assert message in str(caught.value)


def test_what_is_no_model(tmp_path: Path, bert_folder: Path, minilm: Path) -> None:
    with pytest.raises(ArgumentError, match="holds weights alone"):
        open_model(minilm / "model.safetensors")
    with pytest.raises(ArgumentError, match="no such file or folder; nearest: bert"):
        open_model(bert_folder.with_name(bert_folder.name + "x"))
    with pytest.raises(ArgumentError, match="a dict is no model to run"):
        open_model({})  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="no weights"):
        open_model(tmp_path)


def test_folders_that_cannot_be_loaded(bert_folder: Path, tmp_path: Path) -> None:
    shutil.copy(bert_folder / "model.safetensors", tmp_path)
    with pytest.raises(ArgumentError, match=r"no config\.json, so the network is not known"):
        open_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ArgumentError, match=r"config\.json: cannot be read"):
        open_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-thing"}')
    with pytest.raises(ArgumentError, match="transformers cannot load it"):
        open_model(tmp_path)


def test_code_in_a_folder_never_runs(bert_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "trap"
    shutil.copytree(bert_folder, folder)
    (folder / "trap.py").write_text("open('sprung', 'w')")
    (folder / "config.json").write_text(
        '{"model_type": "trap", "architectures": ["Trap"], "auto_map": '
        '{"AutoConfig": "trap.Config", "AutoModel": "trap.Trap"}}'
    )
    with pytest.raises(ArgumentError, match="transformers cannot load it"):
        open_model(folder)
    assert not Path("sprung").exists()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, bert_folder: Path) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ArgumentError, match=r"takes transformers: pip install 'taut\[hf\]'"):
        open_model(bert_folder)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ArgumentError, match=r"takes PyTorch and transformers: pip install"):
        open_model(bert_folder)
