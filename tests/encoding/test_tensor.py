"""Schemes on files: what is decoded are exact zeros where masked, and few values elsewhere."""

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import taut
from taut.cli.app import app
from taut.encoding.tensor import check_scheme, encode_tensor, relative_error
from taut.errors import ArgumentError
from taut.io import TensorInfo
from taut.scheme import parse_scheme
from taut.transform import Grid, Indices, magnitude, n_of_m, unstructured

HALF = ("50%", "50%+lossless", "50%+fp16", "50%+fp8", "50%+int8", "50%+codebook16", "50%+binary")


@pytest.fixture
def weights(rng):
    """Rows of different scales, a convolution's and a vector's shape."""
    scales = np.exp(0.5 * rng.standard_normal((32, 1)))
    return {
        "fc": (rng.standard_normal((32, 64)) * scales).astype(np.float32),
        "conv": rng.standard_normal((8, 4, 3, 3)).astype(np.float32),
        "bias": rng.standard_normal(40).astype(np.float32),
    }


def there_and_back(tmp_path, arrays, plan, **words):
    path = tmp_path / "x.taut.safetensors"
    result = taut.compress(arrays, path, plan=plan, force=True, **words)
    assert taut.verify(path).tensors == len(arrays)
    return result, dict(taut.load(path))


@pytest.mark.parametrize("scheme", [*HALF, "50%+ternary", "50%+rd:4"])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16, np.float64])
def test_the_smaller_half_of_every_tensor_is_exactly_zero(tmp_path, weights, scheme, dtype):
    arrays = {name: one.astype(dtype) for name, one in weights.items()}
    if "rd" in scheme:
        del arrays["bias"]  # too few values for bits of their own
    result, found = there_and_back(tmp_path, arrays, dict.fromkeys(arrays, scheme))
    for report in result.tensors:
        values, back = arrays[report.name], found[report.name]
        mask = unstructured(magnitude(values), 0.5)
        assert back.dtype == dtype and np.all(back[~mask] == 0)
        if scheme in HALF:  # ternary and rd may round more of them to zero
            assert np.all(back[mask] != 0)
        error = relative_error(values, back)
        assert report.rel_mse == pytest.approx(error, rel=0.02) and 0 < error < 0.4
        if scheme in ("50%", "50%+lossless"):
            assert np.array_equal(back[mask], values[mask])


@pytest.mark.parametrize("scheme", ["2:4+int8", "2:4+int4:g32", "2:4", "2:4+rd:2"])
def test_two_of_four_stay_in_every_run(tmp_path, weights, scheme):
    arrays = {"fc": weights["fc"], "conv": weights["conv"]}
    _, found = there_and_back(
        tmp_path, arrays, {"fc": scheme, "conv": scheme.replace("g32", "g12")}
    )
    for name, values in arrays.items():
        back = found[name]
        assert np.all(back[~n_of_m(magnitude(values), 2, 4)] == 0)
        assert (back.reshape(-1, 4) != 0).sum(axis=1).max() == 2


@pytest.mark.parametrize(
    ("scheme", "values", "bits"),
    [
        ("ternary", 3, 1.9),
        ("binary", 2, 1.4),
        ("int2", 4, 2.2),
        ("int3", 8, 3.2),
        ("int4", 16, 4.2),
        ("int8", 256, 8.2),
    ],
)
def test_a_row_has_no_more_values_than_its_grid(tmp_path, weights, scheme, values, bits):
    result, found = there_and_back(tmp_path, {"fc": weights["fc"]}, {"fc": scheme})
    assert max(len(np.unique(row)) for row in found["fc"]) <= values
    assert result.tensors[0].bits < bits  # scales, tables and all


def test_groups_have_scales_of_their_own(tmp_path, rng):
    arrays = {"w": np.where(np.arange(128) < 64, 1e-3, 10) * rng.standard_normal((16, 128))}
    errors = {}
    for scheme in ("int4", "int4:g64", "int4:g64,asym"):
        _, found = there_and_back(tmp_path, arrays, {"w": scheme})
        errors[scheme] = relative_error(arrays["w"][:, :64], found["w"][:, :64])
    assert errors["int4"] > 0.9 > 0.02 > errors["int4:g64"] > errors["int4:g64,asym"]


def test_one_scale_a_tensor_has_256_values_and_serves_small_rows_badly(tmp_path, rng):
    arrays = {"w": rng.standard_normal((16, 128)) * np.geomspace(1e-3, 1, 16)[:, None]}
    _, rows = there_and_back(tmp_path, arrays, {"w": "int8"})
    _, whole = there_and_back(tmp_path, arrays, {"w": "int8,tensor"})
    assert len(np.unique(whole["w"])) <= 256
    step = np.diff(np.unique(whole["w"])).min()
    assert np.abs(whole["w"] / step - np.rint(whole["w"] / step)).max() < 1e-3
    assert relative_error(arrays["w"], whole["w"]) < 1e-3
    first = arrays["w"][0], rows["w"][0], whole["w"][0]
    assert relative_error(*first[:2]) < 1e-3 < 0.5 < relative_error(first[0], first[2])


def test_a_codebook_is_one_a_tensor(tmp_path, weights):
    result, found = there_and_back(tmp_path, weights, dict.fromkeys(weights, "codebook16"))
    assert {len(np.unique(found[name])) for name in weights} == {16}
    assert result.tensors[0].rel_mse < 0.03


def test_fp8_is_what_a_runtime_would_hold(tmp_path, weights):
    _, found = there_and_back(tmp_path, {"fc": weights["fc"]}, {"fc": "fp8"})
    mantissa, _ = np.frexp(found["fc"])
    assert np.array_equal(mantissa * 16, np.rint(mantissa * 16))
    assert np.abs(found["fc"] / weights["fc"] - 1).max() < 2**-4 + 1e-6


def test_a_size_is_met_with_masks_under_the_dial(tmp_path, rng):
    arrays = {name: rng.standard_normal((96, 128)).astype(np.float32) for name in "ab"}
    result, found = there_and_back(tmp_path, arrays, {"a": "80%+rd"}, size="20x")
    assert 0.985 * 49_152 / 10 <= result.size <= 49_152 / 10
    assert (found["a"] == 0).mean() >= 0.8 - 1e-3
    assert np.all(found["a"][~unstructured(magnitude(arrays["a"]), 0.8)] == 0)


@pytest.mark.parametrize("threads", [1, 3])
def test_bytes_do_not_depend_on_threads(tmp_path, weights, threads):
    arrays = {name: weights[name] for name in ("fc", "conv")}
    plan = {"fc": "2:4+int4:g32", "conv": "50%+codebook16"}
    first, _ = there_and_back(tmp_path, arrays, plan)
    data = first.path.read_bytes()
    again, _ = there_and_back(tmp_path, arrays, plan, threads=threads)
    assert again.path.read_bytes() == data


def test_a_plan_with_rules_does_it_from_the_command_line(tmp_path, weights):
    model, out = tmp_path / "m.safetensors", tmp_path / "o.taut.safetensors"
    save_file(weights, model)
    plan = tmp_path / "plan.yaml"
    rules = [("fc", "2:4+int8"), ("conv", "90%+ternary"), ("bias", "fp16")]
    lines = [f"- match: {name}\n  scheme: {scheme}" for name, scheme in rules]
    plan.write_text("taut: 1\nrules:\n" + "\n".join(lines) + "\n")
    done = CliRunner().invoke(app, ["compress", str(model), "-o", str(out), "--plan", str(plan)])
    assert done.exit_code == 0, done.output
    found = dict(taut.load(out))
    assert (found["fc"] == 0).mean() >= 0.5 and (found["conv"] == 0).sum() == round(0.9 * 288)
    assert np.array_equal(found["bias"], weights["bias"].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize(
    ("name", "scheme", "message"),
    [
        ("fc", "channels:30%", "channels hang together .*give the model that runs"),
        ("fc", "int4:g48", "a group of 48 does not divide 64 columns; .*: 32"),
        ("conv", "int4:g64", "a group of 64 does not divide 36 columns; .*: 36"),
        ("bias", "3:7", "an M of 7 does not divide 40 columns; .*: 8"),
        ("bias", "99.9%", 'tensor "bias": 0.999 of zeros leaves none of 40 weights'),
        ("bias", "99%+rd:2", 'tensor "bias": 0.99 of zeros leaves none of 40 weights'),
        ("count", "int8", 'tensor "count" is I64, scheme int8 is for F64'),
        ("count", "50%", 'tensor "count" is I64, scheme 50% is for F64'),
        ("bad", "ternary", r'tensor "bad" has the value nan at \[1, 2\]'),
        ("bad", "50%", r'tensor "bad" has the value nan at \[1, 2\]'),
        ("wide", "int4", 'tensor "wide": scheme int4 .* 1e.300'),
        ("edge", "int3", 'tensor "edge": scheme int3 .* F16'),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_written(tmp_path, weights, name, scheme, message):
    bad = np.ones((3, 4), np.float32)
    bad[1, 2] = np.nan
    edge = np.full((2, 64), 65504, np.float16)
    edge[:, :8] = -65504
    arrays = {
        **weights, "count": np.arange(8), "bad": bad,
        "wide": np.full((4, 4), 1e300), "edge": edge,
    }  # fmt: skip
    with pytest.raises(ArgumentError, match=message):
        taut.compress(arrays, tmp_path / "x.taut.safetensors", plan={name: scheme})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["50%", "2:4", "int8", "ternary", "codebook16", "fp8", "fp16"])
def test_a_tensor_without_values_is_stored_as_it_is(tmp_path, scheme):
    _, found = there_and_back(tmp_path, {"w": np.empty((0, 4), np.float32)}, {"w": scheme})
    assert found["w"].shape == (0, 4)


@pytest.mark.parametrize("scheme", ["ternary", "binary", "int4", "codebook4", "fp8"])
def test_numbers_and_constants_are_on_every_grid(tmp_path, scheme):
    arrays = {"x": np.array(2.0, np.float32), "ones": np.ones((3, 5), np.float32)}
    _, found = there_and_back(tmp_path, arrays, dict.fromkeys(arrays, scheme))
    for name, values in arrays.items():
        assert np.allclose(found[name], values, rtol=0.03)


def info_of(values):
    return TensorInfo("w", "F32", values.shape, values.nbytes)


def test_what_was_trained_is_coded_as_it_was_trained(rng):
    values = rng.standard_normal((20, 30)).astype(np.float32)
    q = np.rint(values).astype(np.int32)
    grid = Grid(q, scales=np.full((20, 1), 0.3, np.float32))
    asked = []

    def trained(info, given, scheme):
        asked.append((info.name, str(scheme)))
        return grid if scheme.kind == "int8" else None

    coded = encode_tensor(info_of(values), values, parse_scheme("2:3+int8"), quantize=trained)
    assert coded.rel_mse == pytest.approx(relative_error(values, q * np.float32(0.3)))
    by_itself = encode_tensor(info_of(values), values, parse_scheme("ternary"), quantize=trained)
    assert by_itself.rel_mse < 0.3  # None leaves it to the scheme
    assert asked == [("w", "2:3+int8"), ("w", "ternary")]
    with pytest.raises(ArgumentError, match="cannot be carried out"):
        encode_tensor(info_of(values), values, parse_scheme("rd"), quantize=trained)


def test_plain_indices_need_no_mask_of_ours(rng):
    values = np.zeros((64, 64), np.float32)
    values[3, ::9] = rng.standard_normal(8)
    found = Indices(np.rint(values * 4).astype(np.int32), 0.25, (0.0, 0.0, 0.0))
    coded = encode_tensor(
        info_of(values), values, parse_scheme("rd"), effort="max", quantize=lambda *_: found
    )
    assert coded.data.nbytes < 60  # one live row among 64


def test_what_fits_is_said_before_any_work():
    check_scheme(TensorInfo("w", "F32", (8, 64), 2048), parse_scheme("2:4+int4:g32"))
    with pytest.raises(ArgumentError, match="int4:g32: a group of 32 does not divide 27"):
        check_scheme(TensorInfo("w", "F32", (8, 3, 3, 3), 864), parse_scheme("int4:g32"))
