"""The part of a training's checkpoint that is the model is taken, or the choice is the caller's."""

from __future__ import annotations

import argparse
import collections
from pathlib import Path

import numpy as np
import pytest

import taut
from taut.errors import ArgumentError, FormatError
from taut.io import open_source
from taut.io.checkpoint_parts import choose_part
from taut.io.model_file import ModelFile
from taut.io.source import notes_of
from taut.networks.sources import chosen

torch = pytest.importorskip("torch")


def weights(seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {"w": torch.randn(3, 4), "b": torch.zeros(3)}


def optimizer() -> dict[str, object]:
    return {
        "state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3, 4)}},
        "param_groups": [],
    }


class Own:
    """A class that no restricted reader knows."""


CHECKPOINTS = {
    "state_dict": {
        "state_dict": weights(), "hyper_parameters": argparse.Namespace(at=Path("/x")), "epoch": 3,
        "callbacks": {"best": {"score": torch.tensor(1.0)}}, "optimizer_states": [optimizer()],
    },
    "model": {
        "model": weights(), "optimizer": optimizer(), "ema": weights(1), "best": np.float64(0.5),
        "history": np.arange(4.0), "counts": collections.defaultdict(int, {"x": 1}),
    },
    "module": {"module": weights(), "dp_world_size": 1, "buffers": {"x": {"y": torch.ones(2)}}},
    "ema.module": {"ema": {"module": weights(), "decay": 0.9}, "step": torch.tensor(3)},
    "params": {"params": weights(), "params_ema": weights(1)},
    "state.model": {"state": {"model": weights(), "optimizers": {"Adam": optimizer()}}, "rng": []},
    "net_g": {"net_g": weights(), "iter": 5},
    ".": {**weights(), "epoch": 3, "x._extra_state": {"scale": torch.ones(1)}},
}  # fmt: skip


@pytest.mark.parametrize("key", CHECKPOINTS)
@pytest.mark.parametrize("zipped", [True, False])
def test_the_models_part_is_taken_and_told(key: str, zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(CHECKPOINTS[key], path, _use_new_zipfile_serialization=zipped)
    source = open_source(path)
    for name, tensor in weights().items():
        np.testing.assert_array_equal(source.load(name), tensor.numpy())
    assert len(source.infos) == 2
    assert source.nbytes == 15 * 4  # no optimiser is among what compression is held against
    notes = " ".join(notes_of(source))
    assert f'"{key}" (2 tensors)' in notes or key == "."
    for name in CHECKPOINTS[key]:
        assert name in notes or name in ("w", "b")


def test_a_file_of_nothing_else_has_its_own_size(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "x.pt")
    source = open_source(tmp_path / "x.pt")
    assert source.nbytes == (tmp_path / "x.pt").stat().st_size
    assert not notes_of(source)


def test_a_key_takes_another_part_and_an_unknown_one_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save(CHECKPOINTS["model"], path)
    source = open_source(ModelFile(path, key="ema"))
    np.testing.assert_array_equal(source.load("w"), weights(1)["w"].numpy())
    assert open_source(ModelFile(path, key=".")).infos[0].name == "history"
    with pytest.raises(ArgumentError, match=r'last.pt: .*"emma".*nearest: ema.*"model" \(2\)'):
        open_source(ModelFile(path, key="emma"))


def test_several_parts_are_the_callers_choice(tmp_path: Path) -> None:
    path = tmp_path / "gan.pt"
    torch.save({"generator": weights(), "critic": weights(1), "nets": {"a": weights()}}, path)
    with pytest.raises(ArgumentError, match=r'gan.pt: .*--key.*"generator" \(2\), "critic" \(2\)'):
        open_source(path)
    names = [info.name for info in open_source(ModelFile(path, key="nets")).infos]
    assert names == ["a.w", "a.b"] or names == ["w", "b"]


@pytest.mark.parametrize(
    ("loaded", "told"),
    [
        ({"state": {}, "param_groups": []}, '"state" \\(dict\\), "param_groups" \\(list\\)'),
        (torch.ones(2), "holds a Tensor"),
        ({}, "it has nothing"),
        ({"args": 3}, '"args" \\(int\\)'),
    ],
)
def test_without_tensors_by_name_what_is_there_is_told(loaded: object, told: str) -> None:
    with pytest.raises(ArgumentError, match=f"x.pt: .*{told}"):
        choose_part(loaded, None, "x.pt")


def test_a_list_of_tensors_is_named_by_number(tmp_path: Path) -> None:
    torch.save([torch.ones(2), torch.zeros(3)], tmp_path / "list.pt")
    source = open_source(tmp_path / "list.pt")
    assert [info.name for info in source.infos] == ["0", "1"]
    shadow = {"decay": 0.9, "shadow_params": [torch.ones(2)], "collected_params": []}
    assert choose_part(shadow, None, "x").key == "shadow_params"


def test_arrays_of_numpy_in_a_checkpoint_are_read_without_numpys_own_unpickling(
    tmp_path: Path,
) -> None:
    arrays = {
        "c": np.random.default_rng(0).standard_normal((3, 4)).astype("f4"),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">f4"),
        "half": np.ones(3, np.float16),
        "yes": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float32),
    }
    odd = {"text": np.array(["a"]), "object": np.array([None]), "step": np.int64(3)}
    for zipped in (True, False):
        torch.save(arrays | odd, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
        source = open_source(tmp_path / "x.pt")
        assert [info.name for info in source.infos] == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(source.load(name), array)


def test_a_class_that_is_not_called_is_named_with_what_to_do(tmp_path: Path) -> None:
    for zipped in (True, False):
        state = {"model": weights(), "args": Own()}
        torch.save(state, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
        with pytest.raises(FormatError, match=rf"x.ckpt: .*{__name__}\.Own.*state_dict\(\)"):
            open_source(tmp_path / "x.ckpt")


def test_a_dict_in_memory_is_read_as_a_file_is() -> None:
    source = open_source(CHECKPOINTS["model"])  # type: ignore[arg-type]
    assert [info.name for info in source.infos] == ["w", "b"]
    assert any('"ema"' in note for note in notes_of(source))
    flat = chosen(CHECKPOINTS["model"], "ema")  # type: ignore[arg-type]
    np.testing.assert_array_equal(open_source(flat).load("w"), weights(1)["w"].numpy())


def test_every_door_that_reads_a_checkpoint_takes_a_key(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    torch.save(
        {"model": {"weight": torch.randn(64, 64)}, "other": {"x": torch.randn(64, 64)}}, path
    )
    packed = tmp_path / "x.taut.safetensors"
    result = taut.compress(path, packed, key="other")
    assert [tensor.name for tensor in result.tensors] == ["x"]
    assert taut.analyze(path, key="other").tensors[0].name == "x"
    assert taut.plan(path, bits=4, key="other").rules
    assert taut.frontier(path, bits=[6], schemes=[], key="other").points
    layer = torch.nn.Linear(64, 64, bias=False)
    torch.save({"a": layer.state_dict(), "b": {"weight": torch.zeros(64, 64)}}, path)
    judged = {"original": layer, "calib": [torch.randn(8, 64)]}
    assert taut.evaluate(path, key="a", **judged).fidelity.rel_mse < 1e-6  # type: ignore[arg-type, union-attr]
    for model in (packed, layer, {"w": np.ones(3)}):
        with pytest.raises(ArgumentError, match="key"):
            taut.compress(model, tmp_path / "y", key="b")  # type: ignore[arg-type]
