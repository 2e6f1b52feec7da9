"""Deltas by libtaut: the same tensors as by Python, the same bases refused."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tests.capi.library import FLOAT32, Library, TautCError

import taut

GOLDEN = Path(__file__).parents[1] / "golden" / "deltas"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base as safetensors and as a Taut file, a delta to each, rounded and exact."""
    folder = tmp_path_factory.mktemp("deltas")
    rng = np.random.default_rng(0)
    base = {
        "w": (rng.standard_normal((64, 96)) * 0.1).astype(np.float32),
        "half": (rng.standard_normal((128, 80)) * 0.1).astype(ml_dtypes.bfloat16),
        "bias": rng.standard_normal(96).astype(np.float32),
        "norm": rng.standard_normal(33).astype(np.float32),
        "same": rng.standard_normal((50, 90)).astype(np.float32),
    }
    fine = {name: (t * 1.003).astype(t.dtype) for name, t in base.items()} | {"same": base["same"]}
    fine["renamed"] = fine.pop("same")
    save_file(base, folder / "base.safetensors")
    save_file(fine, folder / "fine.safetensors", metadata={"format": "pt"})
    low = taut.compress(base, folder / "low.taut.safetensors", bits=3).path
    exact = taut.compress(base, folder / "base.taut.safetensors").path
    made = {"base": exact, "low": low, "fine": folder / "fine.safetensors"}
    for name, base_of, bits in (("exact", exact, None), ("lossy", low, 1), ("chain", None, None)):
        under = made["lossy"] if base_of is None else base_of
        made[name] = taut.compress(
            folder / "fine.safetensors",
            folder / f"{name}.taut.safetensors",
            base=under,
            bits=bits,
        ).path
    return made


@pytest.mark.parametrize("name", ["exact", "lossy"])
def test_a_golden_delta_is_read(library, name):
    file = library.open_path(GOLDEN / f"{name}.taut.safetensors")
    base = load_file(GOLDEN / "base.safetensors")
    file.stand_on_arrays({tensor: values.tobytes() for tensor, values in base.items()})
    file.verify()
    for tensor, values in load_file(GOLDEN / f"{name}.safetensors").items():
        assert file.decode(tensor) == values.tobytes(), tensor


def opened(library: Library, models: dict[str, Path], name: str, base: str | None = None):
    file = library.open_path(models[name])
    if base is not None:
        file.stand_on(library.open_path(models[base]))
    return file


@pytest.mark.parametrize(("name", "base"), [("exact", "base"), ("lossy", "low")])
def test_a_delta_is_decoded_with_its_base(library, models, name, base):
    file = opened(library, models, name, base)
    expected = taut.load(models[name])
    assert file.base_name == models[base].name
    for tensor in expected:
        assert file.decode(tensor) == expected[tensor].tobytes(), tensor
        as_float = np.frombuffer(file.decode(tensor, FLOAT32), np.float32)
        assert (as_float == expected[tensor].astype(np.float32).reshape(-1)).all()
    assert file.decode("w", rows=(3, 5)) == expected["w"][3:8].tobytes()
    assert file.decode("half", rows=(127, 1)) == expected["half"][127:].tobytes()
    file.verify()


def test_an_exact_delta_gives_the_original_back(library, models):
    file = opened(library, models, "exact", "base")
    assert file.originals() == {"fine.safetensors": models["fine"].read_bytes()}


def test_a_chain_is_followed_and_a_circle_refused(library, models):
    low = opened(library, models, "low")
    lossy, chain = opened(library, models, "lossy"), opened(library, models, "chain")
    lossy.stand_on(low)
    chain.stand_on(lossy)
    expected = taut.load(models["chain"])
    assert all(chain.decode(name) == expected[name].tobytes() for name in expected)
    with pytest.raises(TautCError, match="argument"):
        low.stand_on(chain)


def test_arrays_of_the_program_are_a_base(library, models):
    base = {name: values.tobytes() for name, values in taut.load(models["base"]).tensors()}
    file = opened(library, models, "exact")
    file.stand_on_arrays(base)
    file.verify()
    file.stand_on_arrays(base | {"bias": base["bias"][::-1]})
    with pytest.raises(TautCError, match=r'checksum.*"bias"'):
        file.decode("bias")
    del base["same"]
    file.stand_on_arrays(base)
    with pytest.raises(TautCError, match=r'"renamed".*gave no "same"'):
        file.decode("renamed")


def test_no_base_and_another_are_refused_by_name(library, models):
    file = opened(library, models, "exact")
    with pytest.raises(TautCError, match=r'argument: tensor "w".*"base\.taut\.safetensors"'):
        file.decode("w")
    file.stand_on(opened(library, models, "low"))
    with pytest.raises(TautCError, match=r'checksum: tensor "w".*another "w"'):
        file.decode("w")
    with pytest.raises(TautCError, match="checksum"):
        file.verify()
    assert opened(library, models, "base").base_name is None
