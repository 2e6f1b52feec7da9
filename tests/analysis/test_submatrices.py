"""A tensor that holds several matrices has the metric of each, however a network applies them."""

from __future__ import annotations

import numpy as np
import pytest

from taut.analysis import Curvature, collect
from taut.analysis.submatrices import unreached

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

EXPERTS, WIDE, INNER = 5, 8, 4


def squares(output: Tensor, batch: object) -> Tensor:
    return (output**2).reshape(len(output), -1).sum(1)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5 * np.abs(expected).max())


class Experts(nn.Module):
    """Two of five experts for each token; `how` they are applied, `turned`: stored by inputs.

    Without `how` they are linear layers. Expert 3 gets no token.
    """

    def __init__(self, how: str, turned: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.how, self.turned = how, turned
        w, v = torch.randn(EXPERTS, INNER, WIDE), torch.randn(EXPERTS, WIDE, INNER)
        if not how:
            self.up = nn.ModuleList([nn.Linear(WIDE, INNER, bias=False) for _ in range(EXPERTS)])
            self.down = nn.ModuleList([nn.Linear(INNER, WIDE, bias=False) for _ in range(EXPERTS)])
            for layers, values in ((self.up, w), (self.down, v)):
                for layer, value in zip(layers, values, strict=True):
                    layer.weight = nn.Parameter(value.clone())
            return
        self.up = nn.Parameter(w.mT.contiguous() if turned else w)
        self.down = nn.Parameter(v.mT.contiguous() if turned else v)

    def forward(self, x: Tensor) -> Tensor:
        ids = x[:, :EXPERTS].abs() * torch.tensor([1.0, 1, 1, 0, 1])
        top, at = ids.topk(2, -1)
        positions, order = at.reshape(-1), at.reshape(-1).argsort()
        given = x.repeat_interleave(2, 0)
        way = getattr(self, self.how or "layers")
        if self.how in ("grouped", "runs"):
            inner = way(self.up, given[order], positions[order]).tanh()
            outer = way(self.down, inner, positions[order])[order.argsort()]
        else:
            outer = way(self.down, way(self.up, given, positions).tanh(), positions)
        return (outer * top.reshape(-1, 1)).reshape(len(x), 2, -1).sum(1)

    def layers(self, w: nn.ModuleList, x: Tensor, ids: Tensor) -> Tensor:
        found = x.new_zeros(len(x), w[0].out_features)
        for number in ids.unique().tolist():
            (rows,) = (ids == number).nonzero(as_tuple=True)
            found = found.index_add(0, rows, w[number](x[rows]))
        return found

    def loop(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        found = x.new_zeros(len(x), w.shape[-1] if self.turned else w.shape[1])
        for number in ids.unique():
            (rows,) = (ids == number).nonzero(as_tuple=True)
            one = w[number]
            given = x[rows]
            found = found.index_add(
                0, rows, given @ one if self.turned else functional.linear(given, one)
            )
        return found

    def left(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        found = x.new_zeros(len(x), w.shape[-1] if self.turned else w.shape[1])
        for number, one in enumerate(w.unbind()):
            (rows,) = (ids == number).nonzero(as_tuple=True)
            product = torch.mm(one.t() if self.turned else one, x[rows].t())
            found = found.index_add(0, rows, product.t())
        return found

    def natural(self, w: Tensor) -> Tensor:
        """As (experts, inputs, outputs)."""
        return w if self.turned else w.transpose(1, 2)

    def dense(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        mask = functional.one_hot(ids, EXPERTS).T[:, :, None]
        return (torch.bmm(mask * x, self.natural(w)) * mask).sum(0)

    def broadcast(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        mask = functional.one_hot(ids, EXPERTS).T[:, :, None]
        return (torch.matmul(x, self.natural(w)) * mask).sum(0)

    def einsum(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        mask = functional.one_hot(ids, EXPERTS).T[:, :, None]
        return (torch.einsum("eti,eio->eto", mask * x, self.natural(w)) * mask).sum(0)

    def gated(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        mask = functional.one_hot(ids, EXPERTS).float()
        return torch.einsum("ti,te,eio->eto", x, mask, self.natural(w)).sum(0)

    def gathered(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        return torch.bmm(x[:, None], self.natural(w[ids]))[:, 0]

    def picked(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        chosen = self.natural(w.index_select(0, ids)).mT
        return torch.bmm(chosen, x[:, :, None]).squeeze(-1)

    def grouped(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        ends = ids.bincount(minlength=EXPERTS).cumsum(0).int()
        return torch._grouped_mm(x, self.natural(w), offs=ends)

    def runs(self, w: Tensor, x: Tensor, ids: Tensor) -> Tensor:
        counts = ids.bincount(minlength=EXPERTS).tolist()
        weights = [self.natural(one[None])[0] for one in w]
        parts = zip(x.split(counts), weights, strict=True)
        return torch.cat([given @ one for given, one in parts])


DATA = [torch.randn(20, WIDE, generator=torch.Generator().manual_seed(i)) for i in range(2)]
WAYS = [
    "loop",
    "left",
    "dense",
    "broadcast",
    "einsum",
    "gated",
    "gathered",
    "picked",
    "grouped",
    "runs",
]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("how", WAYS)
def test_experts_in_one_tensor_have_the_metrics_of_linear_layers(how: str, turned: bool) -> None:
    fused = collect(Experts(how, turned), lambda: DATA, loss=squares)
    apart = collect(Experts("", turned), lambda: DATA, loss=squares)
    for name, height in (("up", WIDE if turned else INNER), ("down", INNER if turned else WIDE)):
        found = fused[name]
        assert (found.kind, len(found.parts), len(found.rows)) == ("linear", 5, 5 * height)
        assert unreached(found.parts) == (3,)
        assert any(note.startswith("matrices 3 (of 5, counted from 0)") for note in found.notes)
        known = [apart[f"{name}.{number}.weight"] for number in range(EXPERTS)]
        for number, (part, layer) in enumerate(zip(found.apart(), known, strict=True)):
            assert found.parts[number].numbers.tolist() == [
                *range(number * height, (number + 1) * height)
            ]
            if number == 3:
                continue
            sides = (part.columns, part.rows) if turned else (part.rows, part.columns)
            close(sides[0], layer.rows)
            close(sides[1], layer.columns)
            assert part.positions == layer.positions
        mean = found.parts[3]
        traces = [np.trace(one.rows) * np.trace(one.columns) for one in found.parts]
        assert traces[3] == pytest.approx(np.mean([*traces[:3], traces[4]]))
        assert mean.rows.shape == (height, height)


def test_a_diagonal_is_taken_of_an_expert_that_is_too_wide_and_of_no_other_side() -> None:
    found = collect(Experts("loop", False), lambda: DATA, loss=squares, widest=5)
    assert found["up"].parts[0].columns.shape == (WIDE,)
    assert found["up"].parts[0].rows.shape == (INNER, INNER)


def test_sums_that_do_not_fit_in_memory_share_a_file() -> None:
    kept, spilled = (
        collect(Experts("loop", False), lambda: DATA, loss=squares, memory=memory)["up"]
        for memory in (1 << 30, 0)
    )
    given = [one for one in spilled.parts if one.positions]
    assert len({id(one.rows._mmap) for one in given}) == 1
    for one, other in zip(spilled.parts, kept.parts, strict=True):
        close(one.rows, other.rows)


class Bare(nn.Module):
    """A parameter with axes for heads, applied as `how` says."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        shapes = {"in first": (6, 2, 3), "heads first": (2, 6, 3), "out last": (2, 3, 6)}
        self.w = nn.Parameter(torch.randn(*shapes.get(how, (6, 6))))

    def forward(self, x: Tensor) -> Tensor:
        match self.how:
            case "in first":
                return torch.einsum("nti,ihk->nthk", x, self.w)
            case "heads first":
                return torch.einsum("nti,hik->nhtk", x, self.w)
            case "out last":
                return torch.einsum("nthk,hko->nto", x.reshape(*x.shape[:2], 2, 3), self.w)
            case "heads of a matrix":
                return torch.einsum("nti,hki->nhtk", x, self.w.view(2, 3, 6))
            case "chunks":
                one, other = self.w.chunk(2)
                return torch.cat(
                    [functional.linear(x, one), functional.linear(x.tanh(), other)], -1
                )
            case "halves of the inputs":
                return x[..., :2] @ self.w[:2] + x[..., 2:].tanh() @ self.w[2:]
            case "columns":
                return functional.linear(x[..., :4], self.w[:, :4])
        raise AssertionError


@pytest.mark.parametrize(
    ("how", "parts"),
    [
        ("in first", [((6, 6), (6, 6))]),
        ("heads first", [((6, 6), (3, 3))] * 2),
        ("out last", [((6, 6), (6, 6))]),
        ("heads of a matrix", [((6, 6), (6, 6))]),
        ("chunks", [((3, 3), (6, 6))] * 2),
        ("halves of the inputs", [((2, 2), (6, 6)), ((4, 4), (6, 6))]),
        ("columns", [((6, 6), (6, 6))]),
    ],
)
def test_axes_are_inputs_and_outputs_by_what_is_done_with_them(how, parts) -> None:
    found = collect(Bare(how), lambda: [torch.randn(9, 4, 6)], loss=squares)["w"]
    assert found.kind == "linear"
    assert [(one.rows.shape, one.columns.shape) for one in found.apart()] == parts


def test_one_samples_error_is_predicted_exactly_whatever_the_axes() -> None:
    """Of a linear network and one position: tr(R E C E^T) is the squared change of the output."""
    for how in ("in first", "heads first", "out last", "heads of a matrix", "chunks", "columns"):
        model, x = Bare(how), torch.randn(1, 1, 6)
        found = collect(model, lambda x=x: [x.expand(20_000, 1, 6)])["w"]
        before = model(x).detach()
        error = 0.1 * torch.randn_like(model.w)
        with torch.no_grad():
            model.w += error
            change = float(((model(x) - before) ** 2).sum())
        assert predicted(found, error.numpy()) == pytest.approx(change, rel=0.1), how


def predicted(found: Curvature, error: np.ndarray) -> float:
    E = error.reshape(len(found.rows), -1)
    total = 0.0
    for one, part in zip(found.apart(), found.parts or (None,), strict=True):
        rows = E if part is None else E[part.numbers]
        total += float(np.trace(one.rows @ rows @ one.columns @ rows.T))
    return total


def test_attention_to_others_has_a_metric_for_queries_and_one_for_keys_and_values() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.attention(x, y, y)[0]

    x, y = torch.randn(6, 5, 4), torch.randn(6, 3, 4)
    found = collect(Model(), lambda: [(x, y)])["attention.in_proj_weight"]
    queries, others = found.parts
    assert found.kind == "linear" and (len(queries.numbers), len(others.numbers)) == (4, 8)
    close(queries.columns, (x.reshape(-1, 4).T @ x.reshape(-1, 4)).numpy() / 30)
    close(others.columns, (y.reshape(-1, 4).T @ y.reshape(-1, 4)).numpy() / 18)


@pytest.mark.parametrize("how", ["vmap", "jvp", "nested"])
def test_what_is_no_ordinary_tensor_leaves_the_whole_gradient(how: str) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(2, 4, 4))
            self.last = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            match how:
                case "vmap":
                    x = torch.func.vmap(lambda one: x @ one.T)(self.w).sum(0)
                case "jvp":
                    x = torch.func.jvp(lambda y: y @ self.w[0], (x,), (x,))[1]
                case "nested":
                    parts = torch.nested.nested_tensor([x[:2], x[2:]], layout=torch.jagged)
                    x = functional.linear(parts, self.w[0]).values()
            return self.last(x)

    found = collect(Model(), lambda: [torch.randn(5, 4)])
    assert (found["w"].kind, found["last.weight"].kind) == ("gradient", "linear")


def test_a_use_that_is_not_followed_beside_one_that_is_counts_as_well() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.randn(2, 3, 4))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.w[0].T + (self.w[1] * x[:, None]).sum(-1)

    found = collect(Model(), lambda: [torch.randn(5, 4)])["w"]
    assert found.kind == "linear+gradient"
    assert [one.rows.shape for one in found.apart()] == [(3, 3), (3, 3)]
