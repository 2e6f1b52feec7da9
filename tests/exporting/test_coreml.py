"""Networks as Core ML packages: their own integers, read back from the disk."""

import numpy as np
import pytest

pytest.importorskip(
    "coremltools", reason="coremltools is not installed: make clients INSTALL=coreml runs this"
)
from tests.exporting.device_networks import batches, convolutions, in_a_file, integers_of

import taut
from taut.errors import ArgumentError, VerifyError
from taut.exporting.coreml.package_weights import read_weights

torch = pytest.importorskip("torch")


def test_a_package_has_the_networks_integers_and_says_that_it_was_not_run(tmp_path):
    net = convolutions()
    out = tmp_path / "n.mlpackage"
    done = taut.export(in_a_file(net, tmp_path), out, into=net, calib=batches())
    assert "not run" in " ".join(done.notes) and "does not run here" in done.check.runtime
    assert done.check.relative < 0.01
    held = [one for one in read_weights(out).values() if one.integers is not None]
    wanted = [sorted(row.tolist()) for one in integers_of(net).values() for row in one]
    found = [sorted(np.abs(row).reshape(-1).tolist()) for one in held for row in one.integers]
    assert len(held) == 4 and sorted(found) == sorted(wanted)
    assert {path.name for path in out.iterdir()} == {"Manifest.json", "Data"}
    assert done.size == sum(path.stat().st_size for path in done.files)


def test_floats_are_read_back_too(tmp_path):
    net = convolutions()
    file = in_a_file(net, tmp_path)
    for weights, least, most in (("float32", 0, 1e-6), ("float16", 1e-6, 2e-3)):
        out = tmp_path / f"{weights}.mlpackage"
        done = taut.export(file, out, into=net, calib=batches(), weights=weights)
        assert least <= done.check.relative < most
    with pytest.raises(VerifyError, match=r"error of .* above 1e-07"):
        taut.export(file, tmp_path / "far.mlpackage", into=net, calib=batches(), max_error=1e-7)
    assert not (tmp_path / "far.mlpackage").exists()


def test_names_and_options_that_it_has_not_are_refused(tmp_path):
    net = convolutions()
    file = in_a_file(net, tmp_path)
    with pytest.raises(ArgumentError, match=r"packages end in \.mlpackage"):
        taut.export(file, tmp_path / "n", to="coreml", into=net, calib=batches())
    with pytest.raises(ArgumentError, match='"static" is none of none, as Core ML has'):
        taut.export(file, tmp_path / "n.mlpackage", into=net, calib=batches(), activations="static")
