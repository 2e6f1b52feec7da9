"""Several matrices in one tensor are rounded each by its own metric, as if they were apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from taut.analysis import Curvature
from taut.analysis.sensitivity import loss_of, predict_loss, summarise
from taut.analysis.submatrices import Submatrix, Term, combined, outline
from taut.analysis.united import united
from taut.calibration import Findings, Options, Rounder, options
from taut.calibration.options import make_forms
from taut.errors import ArgumentError
from taut.io import open_source
from taut.journal.journal import Journal
from taut.scheme import parse_scheme
from taut.transform.damping import noise_of
from taut.transform.runtime import calibrated_grid, make_grid

MATRICES, ROWS, COLUMNS = 4, 24, 40
SHAPE = (MATRICES, ROWS, COLUMNS)


def form(rng: np.random.Generator, size: int) -> np.ndarray:
    basis, _ = np.linalg.qr(rng.standard_normal((size, size)))
    return basis * 10.0 ** rng.uniform(-1, 1, size) @ basis.T


def alone(rng: np.random.Generator, scale: float) -> Curvature:
    rows, columns = form(rng, ROWS), scale * form(rng, COLUMNS)
    return Curvature(rows, columns, None, None, 400, 400, "linear", 0)


@pytest.fixture
def apart(rng) -> list[Curvature]:
    return [alone(rng, scale) for scale in (1.0, 100.0, 0.1, 3.0)]


@pytest.fixture
def values(rng) -> np.ndarray:
    return rng.standard_normal(SHAPE).astype(np.float32)


def together(apart: list[Curvature]) -> Curvature:
    numbers = np.arange(MATRICES * ROWS).reshape(MATRICES, ROWS)
    parts = tuple(
        Submatrix(own, one.rows, one.columns, one.positions)
        for own, one in zip(numbers, apart, strict=True)
    )
    whole = outline(parts, MATRICES * ROWS)
    return replace(apart[0], rows=whole.rows, columns=whole.columns, parts=parts)


def test_what_is_known_of_parts_is_what_is_known_of_them_apart(apart, rng) -> None:
    both = together(apart)
    error = rng.standard_normal(SHAPE).astype(np.float32)
    expected = sum(predict_loss(e, one) for e, one in zip(error, apart, strict=True))
    assert loss_of(both)(error.reshape(MATRICES, -1)) == pytest.approx(expected)
    with pytest.raises(ArgumentError, match=f"{MATRICES * ROWS} rows of {COLUMNS}"):
        loss_of(both)(error[1:])
    assert noise_of([both]) == pytest.approx(noise_of(apart))
    steps = [summarise(one).step for one in apart]
    assert summarise(both).step == pytest.approx(np.exp(np.mean(np.log(steps))))
    traces = [np.trace(one.rows) * np.trace(one.columns) for one in apart]
    assert both.rows.sum() * both.columns.sum() == pytest.approx(sum(traces))


def rounder(tensors: dict[str, np.ndarray], known: dict[str, Curvature], **more) -> Rounder:
    source = open_source(tensors)
    return Rounder(source, dict.fromkeys(tensors, parse_scheme("rd")), known, **more)


def test_a_tensor_of_matrices_loses_no_more_than_the_matrices(apart, values) -> None:
    tensors = {str(number): one for number, one in enumerate(values)}
    one, other = (
        rounder(part, known, gains=dict.fromkeys(part, 4.0))  # coarse: no index is an exception
        for part, known in (
            ({"all": values}, {"all": together(apart)}),
            (tensors, dict(zip(tensors, apart, strict=True))),
        )
    )
    lost, nbytes = [], []
    for made in (one, other):
        made.turn(0.2)  # coarse: how exceptions are coded hangs on a matrix's size
        decoded = np.stack([made.decoded(name) for name in made.found]).reshape(SHAPE)
        lost.append(loss_of(together(apart))(values - decoded))
        nbytes.append(made.nbytes)
    assert nbytes[0] + 0.5 * np.log2(lost[0] / lost[1]) * values.size / 8 < 1.02 * nbytes[1]
    info = replace(one.source.infos[0], shape=(2, ROWS, COLUMNS))
    sample = one(info, values[1:3], parse_scheme("rd"))
    middle = one.found["all"].decoded.reshape(SHAPE)[1:3]
    np.testing.assert_array_equal(sample.decoded.reshape(middle.shape), middle)


@pytest.mark.parametrize("scheme", ["rd", "50%+rd", "2:4+rd", "2:4+int4:g8"])
def test_factors_made_when_they_are_wanted_round_alike(apart, values, scheme, monkeypatch) -> None:
    found = []
    for kept in (1 << 30, 0):
        monkeypatch.setattr(options, "_KEPT", kept)
        curvature = together(apart)
        metric = make_forms(curvature, Options(), 0.1)
        assert (metric.columns[0].upper is None) is (kept == 0)
        made = Rounder(
            open_source({"all": values}), {"all": parse_scheme(scheme)}, {"all": curvature}
        )
        if made.grids:
            found.append(made.grids["all"].indices)
            continue
        made.turn(0.3)
        found.append(made.found["all"].indices)
        if scheme == "2:4+rd":
            assert np.count_nonzero(found[-1].reshape(-1, 4), axis=1).max() <= 2
    if scheme != "50%+rd":  # late factors choose what goes matrix by matrix
        np.testing.assert_array_equal(*found)
    assert found[0].size == values.size


@pytest.mark.parametrize("scheme", ["int8", "int4:g8", "int4:g8,asym", "int4:g80", "ternary"])
def test_a_grid_is_the_tensors_and_its_rounding_the_matrices(apart, values, scheme) -> None:
    """Groups run on from one row to the next, of 40 columns, as they do without data."""
    chosen = parse_scheme(scheme)
    metric = make_forms(together(apart), Options(), 0.1)
    plain, found = make_grid(values, chosen), calibrated_grid(values, chosen, metric)
    assert found.indices.shape == SHAPE
    np.testing.assert_array_equal(found.scales, plain.scales)
    loss = loss_of(together(apart))
    off = [loss(grid.values(np.dtype("f4")) - values) for grid in (found, plain)]
    assert off[0] < 0.8 * off[1]


@pytest.mark.parametrize("scheme", ["rd", "2:4+rd"])
def test_the_rows_of_a_matrix_may_lie_among_those_of_others(apart, values, scheme) -> None:
    """As of `w[::2]` and `w[1::2]`, or of heads within the inputs."""
    apart_rows = np.arange(MATRICES * ROWS).reshape(ROWS, MATRICES).T
    curvature = together(apart)
    parts = [
        replace(one, numbers=rows) for one, rows in zip(curvature.parts, apart_rows, strict=True)
    ]
    mixed = replace(curvature, parts=tuple(parts), rows=outline(parts, MATRICES * ROWS).rows)
    found = []
    for known, tensor in (
        (curvature, values),
        (mixed, np.ascontiguousarray(values.swapaxes(0, 1))),
    ):
        made = Rounder(open_source({"w": tensor}), {"w": parse_scheme(scheme)}, {"w": known})
        made.turn(0.1)
        found.append(made.found["w"].decoded)
    one, other = found
    lost = [
        loss_of(curvature)(values.reshape(one.shape) - rounded)
        for rounded in (one, other[apart_rows.reshape(-1)])
    ]
    assert lost[1] == pytest.approx(lost[0], rel=0.02)


def test_equal_tensors_are_summed_matrix_by_matrix(apart) -> None:
    once, halves = together(apart), together([*apart[:2], *apart[:2]])
    both = united([once, halves])
    assert [one.numbers.tolist() for one in both.parts] == [p.numbers.tolist() for p in once.parts]
    np.testing.assert_allclose(both.parts[0].rows.trace() * both.parts[0].columns.trace(),
                               2 * apart[0].rows.trace() * apart[0].columns.trace())  # fmt: skip
    plain = replace(apart[0], rows=np.eye(MATRICES * ROWS), columns=np.eye(COLUMNS))
    assert len(united([once, plain]).parts) == MATRICES


def test_rows_of_no_use_get_the_mean_of_what_is_known(apart, rng) -> None:
    terms = [Term.of(block, one, 5) for block, one in blocks(apart)]
    known = combined(terms, MATRICES * ROWS, COLUMNS)
    assert [(one.numbers[0], one.positions) for one in known] == [(0, 5), (24, 0), (48, 5), (72, 0)]
    assert known[1].columns is known[3].columns
    odd = combined(terms, MATRICES * ROWS + 1, COLUMNS)
    assert len(odd) == 3 and odd[1].rows.shape == (2 * ROWS + 1,)


def blocks(apart: list[Curvature]):
    from taut.analysis._block import Block
    from taut.analysis._terms import Forms

    for number in (0, 2):
        one = apart[number]
        rows = np.arange(number * ROWS, (number + 1) * ROWS)
        yield Block(rows), Forms(one.rows, one.columns)


def test_parts_survive_a_crash(tmp_path: Path, apart) -> None:
    whole = together(apart)
    with Findings(Journal.open(tmp_path / "x", {"a": "b"}, resume=False)) as record:
        record.curvatures(["w"], lambda _: {"w": whole})
    with Findings(Journal.open(tmp_path / "x", {"a": "b"}, resume=True)) as record:
        found = record.curvatures(["w"], lambda _: {})
    for one, other in zip(found["w"].parts, whole.parts, strict=True):
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_array_equal(one.columns, other.columns)
        assert one.positions == other.positions
