"""Curvature is what brute force over samples gives, for every way that a weight is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from taut.analysis import Curvature, collect

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def per_sample(output: Tensor, batch: object) -> Tensor:
    """A loss with a value for each sample."""
    return (output**3).reshape(len(output), -1).sum(1)


def brute(model: nn.Module, weight: Tensor, batches: Iterable[Tensor]) -> list[np.ndarray]:
    """The weight's gradient for each sample by itself, as a matrix."""
    found = []
    for sample in torch.cat(list(batches)):
        loss = per_sample(model(sample[None]), None).sum()
        (gradient,) = torch.autograd.grad(loss, weight)
        found.append(gradient.reshape(len(gradient), -1).numpy().astype(np.float64))
    return found


def predicted(found: Curvature, E: np.ndarray) -> float:
    """The loss of an error in the matrix: tr(R E C E^T)."""
    R = np.diag(found.rows) if found.rows.ndim == 1 else found.rows
    C = np.diag(found.columns) if found.columns.ndim == 1 else found.columns
    return float(np.trace(R @ E @ C @ E.T))


def rows(model: nn.Module, x: Tensor) -> Iterable[Tensor]:
    """Each output of one sample, of a run of its own."""
    return (model(x)[0, i] for i in range(model(x).shape[1]))


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5 * np.abs(expected).max())


def test_a_linear_layer_has_its_inputs_and_its_gradients_moments() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    data = [torch.randn(6, 4), torch.randn(2, 4)]
    found = collect(model, lambda: data, loss=per_sample)["0.weight"]
    x = torch.cat(data).numpy()
    # One position a sample: its gradient is g x^T, and g = gradient x / (x . x).
    gradients = brute(model, model[0].weight, data)
    g = np.stack([d @ v / (v @ v) for d, v in zip(gradients, x, strict=True)])
    close(found.rows, g.T @ g / 8)
    close(found.columns, x.T @ x / 8)
    close(found.mean_input, x.mean(0))
    assert (found.kind, found.bias, found.samples, found.positions) == ("linear", "0.bias", 8, 8)


@pytest.mark.parametrize("head", [False, True])
def test_one_sample_has_the_exact_gauss_newton_matrix(head: bool) -> None:
    """Brute force: the Jacobian of the output by every weight, and the loss's Hessian by it."""
    model = nn.Sequential()
    model.add_module("body", nn.Linear(3, 4))
    model.add_module("act", nn.Tanh())
    model.add_module("head" if head else "last", nn.Linear(4, 3))
    x = torch.randn(1, 3)
    # The same sample many times over: each has its own random projection.
    output = "logits" if head else "features"  # equal samples tell nothing of it
    found = collect(model, lambda: [x.expand(20_000, 3)], output=output)["body.weight"]
    J = torch.stack([torch.autograd.grad(z, model.body.weight)[0] for z in rows(model, x)])
    p = model(x)[0].detach().softmax(0)
    L = torch.diag(p) - torch.outer(p, p) if head else torch.eye(3)
    for _ in range(5):
        E = torch.randn(4, 3)
        v = torch.einsum("zij,ij->z", J, E)
        assert predicted(found, E.numpy()) == pytest.approx(float(v @ L @ v), rel=0.05)


def test_it_predicts_the_squared_error_of_a_linear_network() -> None:
    model = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Flatten())
    data = [torch.randn(40, 7, 6) @ torch.randn(6, 6) for _ in range(2)]
    found = collect(model, lambda: data, projections=40)["0.weight"]
    E = torch.randn(5, 6) * 0.01
    error = sum(float(((x @ E.T) ** 2).sum()) for x in data) / 80
    assert predicted(found, E.numpy()) == pytest.approx(error, rel=0.1)
    assert found.positions == 560


def test_an_embedding_has_counts_and_the_gradients_of_its_tokens() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(9, 3)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
            return self.table(input_ids)

    ids = torch.tensor([[1, 2, 2], [3, 1, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    batch = {"input_ids": ids.repeat(1000, 1), "attention_mask": mask.repeat(1000, 1)}
    found = collect(Model(), lambda: [batch])["table.weight"]
    assert found.rows.tolist() == [0, 1, 1, 0.5, 0, 0, 0, 0, 0]  # padding is not read
    np.testing.assert_allclose(found.columns, np.eye(3), atol=0.1)
    assert found.positions == 5000
    assert found.notes == ("6 of 9 rows were never read",)


class Uses(nn.Module):
    """One weight applied to inputs in the way that `how` names."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.w = nn.Parameter(torch.randn(4, 5))
        self.b = nn.Parameter(torch.randn(5))

    def forward(self, x: Tensor) -> Tensor:
        w = self.w
        match self.how:
            case "matmul":
                return x @ w
            case "addmm":
                return torch.addmm(self.b, x, w)
            case "transposed":
                return functional.linear(x, w.t(), self.b)
            case "twice":
                return x @ w.T.T
            case "einsum":
                return torch.einsum("ni,ij->nj", x, w)
            case "multiplied":
                return (x[:, :, None] * w).sum(1)
        raise AssertionError


@pytest.mark.parametrize("how", ["matmul", "addmm", "transposed", "twice", "einsum"])
def test_a_weight_stored_by_inputs_has_its_metrics_swapped(how: str) -> None:
    x = torch.randn(30, 4)
    found = collect(Uses(how), lambda: [x], loss=per_sample)["w"]
    assert found.kind == "linear"
    assert found.bias == ("b" if how in ("addmm", "transposed") else None)
    close(found.rows, (x.T @ x).numpy() / 30)
    assert found.columns.shape == (5, 5)
    close(found.mean_input, x.mean(0).numpy())


def test_a_use_that_is_not_followed_falls_back_to_the_whole_gradient() -> None:
    model, data = Uses("multiplied"), [torch.randn(1, 4) for _ in range(50)]
    found = collect(model, lambda: data, loss=per_sample)["w"]
    gradients = brute(model, model.w, data)
    assert found.kind == "gradient"
    assert "not followed" in found.notes[0]
    R, C = sum(d @ d.T for d in gradients) / 50, sum(d.T @ d for d in gradients) / 50
    close(found.rows / np.trace(found.rows), R / np.trace(R))
    close(found.columns / np.trace(found.columns), C / np.trace(C))
    fisher = sum((d**2).sum() for d in gradients) / 50
    assert np.trace(found.rows) * np.trace(found.columns) == pytest.approx(fisher, rel=1e-4)


def test_samples_of_one_batch_do_not_cancel_in_a_whole_gradient() -> None:
    model, x = Uses("multiplied"), torch.randn(1, 4)
    together, apart = [torch.cat([x, x])] * 200, [x, x] * 200
    a, b = (collect(model, lambda d=d: d, loss=per_sample)["w"] for d in (together, apart))
    assert np.trace(a.rows) == pytest.approx(np.trace(b.rows), rel=0.15)


@pytest.mark.parametrize("batch_first", [False, True])
def test_fused_attention_is_followed_inside(batch_first: bool) -> None:
    model = nn.TransformerEncoderLayer(4, 2, 8, batch_first=batch_first)
    x = torch.randn(6, 5, 4)
    found = collect(model, lambda: [x], loss=per_sample)
    fused = found["self_attn.in_proj_weight"]
    assert (fused.kind, fused.bias) == ("linear", "self_attn.in_proj_bias")
    flat = x.reshape(-1, 4).numpy()
    close(fused.columns, flat.T @ flat / 30)
    assert fused.rows.shape == (12, 12)
    assert found["self_attn.out_proj.weight"].kind == "linear"
    stages = [one.stage for one in found.values()]
    assert stages == sorted(stages)


def test_rows_of_a_table_may_be_counted_from_the_end() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Parameter(torch.randn(4, 3))

        def forward(self, ids: Tensor) -> Tensor:
            return self.table[ids]

    found = collect(Model(), lambda: [torch.tensor([[0, -1], [3, 1]])])["table"]
    assert found.kind == "embedding"
    assert found.rows.tolist() == [0.5, 0.5, 0, 1]


class Tied(nn.Module):
    """A table of words that is also the head."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.table.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.table(ids)))


def test_a_tied_weight_is_summed_over_its_uses_and_found_by_both_names() -> None:
    model = Tied()
    data = [torch.randint(0, 7, (5, 3)) for _ in range(3)]
    found = collect(model, lambda: data)
    assert found["table.weight"] is found["head.weight"]
    assert set(found["table.weight"].kind.split("+")) == {"linear", "embedding"}

    apart = Tied()
    apart.head.weight = nn.Parameter(model.table.weight.detach().clone())
    apart.table.weight.data.copy_(model.table.weight)
    one, other = collect(apart, lambda: data).values()
    traces = [float(np.trace(np.diag(f.rows) if f.rows.ndim == 1 else f.rows)
                    * np.trace(f.columns)) for f in (one, other, found["head.weight"])]  # fmt: skip
    assert traces[2] == pytest.approx(traces[0] + traces[1], rel=1e-4)


def test_a_layer_used_twice_is_summed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.w(torch.tanh(self.w(x)))

    model, x = Twice(), torch.randn(8, 3)
    found = collect(model, lambda: [x], loss=per_sample)["w.weight"]
    inputs = torch.cat([x, torch.tanh(model.w(x))]).detach()
    close(found.columns, (inputs.T @ inputs).numpy() / 16)
    assert (found.positions, found.bias) == (16, "w.bias")


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_convolution_has_patches_by_group(groups: int) -> None:
    model = nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect", groups=groups)
    x = torch.randn(3, 4, 6, 6)
    found = collect(model, lambda: [x], loss=per_sample)["weight"]
    patches = functional.unfold(functional.pad(x, (1, 1, 1, 1), "reflect"), 3)
    patches = patches.transpose(1, 2).reshape(-1, groups, 36 // groups)
    H = torch.einsum("ngi,ngj->gij", patches, patches).numpy() / len(patches)
    close(found.columns, H[0] if groups == 1 else H)
    close(found.mean_input, patches.mean(0).reshape(-1).numpy())
    y = model(x).detach()
    g = (3 * y**2).movedim(1, -1).reshape(-1, 8)
    close(found.rows, (g.T @ g).numpy() / 3)
    assert (found.positions, found.bias, found.kind) == (108, "bias", "conv")


def test_an_input_changed_in_place_after_its_use_is_seen_as_it_was() -> None:
    class Model(nn.Module):
        def __init__(self, inplace: bool) -> None:
            super().__init__()
            self.a, self.b, self.inplace = nn.Linear(4, 4), nn.Linear(4, 4), inplace

        def forward(self, x: Tensor) -> Tensor:
            h = torch.sigmoid(x) * 2
            y = self.a(h)
            return self.b(h.add_(1) if self.inplace else h + 1) + y

    data = [torch.randn(6, 4) for _ in range(2)]
    found = {}
    for inplace in (False, True):
        torch.manual_seed(1)
        found[inplace] = collect(Model(inplace), lambda: data)
    for name, one in found[True].items():
        np.testing.assert_array_equal(one.columns, found[False][name].columns)
        assert one.notes == found[False][name].notes


def test_the_stage_is_the_order_of_the_run_and_not_of_the_definition() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(3, 2), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    found = collect(Model(), lambda: [torch.randn(4, 3)])
    assert {name: one.stage for name, one in found.items()} == {
        "first.weight": 0,
        "last.weight": 1,
    }


def test_a_weight_without_effect_is_none_and_says_so() -> None:
    model = nn.ModuleDict({"used": nn.Linear(3, 2), "pooler": nn.Linear(2, 2)})
    model.forward = lambda x: model["used"](x)  # type: ignore[method-assign]
    found = collect(model, lambda: [torch.randn(4, 3)])["pooler.weight"]
    assert found.kind == "none"
    assert not found.rows.any() and not found.columns.any()
    assert found.notes == ("the loss does not depend on it",)


def test_dead_inputs_and_too_few_positions_are_told() -> None:
    x = torch.randn(3, 5)
    x[:, 1:3] = 0
    found = collect(nn.Linear(5, 2), lambda: [x])["weight"]
    assert "2 of 5 inputs are always zero" in found.notes
    assert "fewer positions than inputs: 3 for 5" in found.notes


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_wide_sides_are_diagonal_and_large_sums_are_spilled(memory: int) -> None:
    model = nn.Sequential(nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 3))
    data = [torch.randn(9, 12) for _ in range(3)]
    full, some = (collect(model, lambda: data, widest=widest, memory=memory) for widest in (99, 5))
    assert isinstance(full["0.weight"].columns, np.memmap) is (memory == 0)
    assert some["0.weight"].columns.shape == (12,)
    close(some["0.weight"].columns, np.diag(full["0.weight"].columns))
    close(some["0.weight"].rows, full["0.weight"].rows)


def test_half_precision_is_computed_in_single_and_left_alone() -> None:
    wide = nn.Linear(6, 4)
    wide.weight.data = wide.weight.data.half().float()
    narrow = nn.Linear(6, 4).half()
    narrow.load_state_dict(wide.state_dict())
    x = torch.randn(5, 6).half()
    a = collect(wide, lambda: [x.float()])["weight"]
    b = collect(narrow, lambda: [x])["weight"]
    np.testing.assert_array_equal(a.columns, b.columns)
    assert narrow.weight.dtype == torch.float16


def test_names_choose_and_the_choice_changes_no_value() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    data: Callable[[], Iterable[Tensor]] = lambda: iter([torch.ones(2, 4)])  # noqa: E731
    every, one = collect(model, data), collect(model, data, names=["2.weight"])
    assert list(one) == ["2.weight"]
    np.testing.assert_array_equal(one["2.weight"].rows, every["2.weight"].rows)
