"""What vLLM gets of a Taut folder; vLLM itself is asked by bench/clients."""

import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import taut
from taut.errors import ArgumentError
from taut.loading.vllm_plugin import register
from taut.loading.vllm_weights import decoded, taut_folder

torch = pytest.importorskip("torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Taut folder of two shards."""
    source = tmp_path / "source"
    source.mkdir()
    rng = np.random.default_rng(0)
    weights = {f"w{i}": rng.normal(size=(64, 64)).astype(np.float16) for i in range(2)}
    save_file(weights, source / "model.safetensors")
    (source / "config.json").write_text('{"model_type": "llama"}')
    taut.compress(source, tmp_path / "small", shard_size=10_000)
    return tmp_path / "small"


def test_the_entry_point_is_known() -> None:
    (found,) = (one for one in entry_points(group="vllm.general_plugins") if one.name == "taut")
    assert found.load() is register


def test_tensors_come_decoded(folder: Path) -> None:
    found = dict(decoded(taut_folder(str(folder), None, None)))
    wanted = taut.load(folder)
    assert list(found) == ["w0", "w1"]
    for name, tensor in found.items():
        assert tensor.dtype == torch.float16
        assert np.array_equal(tensor.numpy(), wanted[name])


def test_a_folder_that_is_not_tauts_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="one file of the folder must end in"):
        list(decoded(tmp_path / "source"))


class Parent:
    """What vLLM's own loader is to ours."""

    load_config = SimpleNamespace(download_dir=None)

    def get_all_weights(self, model_config: Any, model: Any) -> Any:
        """Weights of any other model."""
        yield "theirs", None


def test_other_models_are_loaded_as_ever(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs: dict[str, type] = {}
    loaders: dict[str, type] = {}

    def keep(table: dict[str, type]) -> Any:
        return lambda name: lambda kind: table.setdefault(name, kind)

    layers = "vllm.model_executor.layers"
    loading = "vllm.model_executor.model_loader"
    linear = type("LinearBase", (torch.nn.Identity,), {})
    made = {
        "vllm": {},
        "vllm.model_executor": {},
        layers: {},
        f"{layers}.linear": {"LinearBase": linear, "UnquantizedLinearMethod": lambda: "plain"},
        f"{layers}.quantization": {"register_quantization_config": keep(configs)},
        f"{layers}.quantization.base_config": {"QuantizationConfig": object},
        loading: {"register_model_loader": keep(loaders)},
        f"{loading}.default_loader": {"DefaultModelLoader": Parent},
    }
    for name, holds in made.items():
        module = ModuleType(name)
        module.__dict__.update(holds)
        monkeypatch.setitem(sys.modules, name, module)
    register()
    config = configs["taut"].from_config({"quant_method": "taut"})  # type: ignore[attr-defined]
    assert config.get_quant_method(linear(), "") == "plain"
    assert config.get_quant_method(torch.nn.ReLU(), "") is None
    assert set(loaders) == {"auto", "hf", "safetensors"}
    loader = loaders["auto"]()
    ours = SimpleNamespace(quantization="taut", model=str(folder), revision=None)
    other = SimpleNamespace(quantization=None, model=str(folder), revision=None)
    assert [name for name, _ in loader.get_all_weights(ours, None)] == ["w0", "w1"]
    assert [name for name, _ in loader.get_all_weights(other, None)] == ["theirs"]
