"""The output that is kept, and random scalars whose gradients have the loss's second moment."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from taut.analysis.losses import probes  # noqa: E402
from taut.errors import ArgumentError  # noqa: E402
from taut.networks.outputs import KeptOutput, find_target  # noqa: E402


def gradients(target: KeptOutput, batch: object = None, passes: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    found = [*probes(target, batch, generator, passes)]
    assert all(z is target.tensor for z, _ in found)
    return torch.stack([v for _, v in found])


@pytest.mark.parametrize("shape", [(50_000, 5), (25_000, 2, 5), (500, 5, 10, 10)])
def test_logits_have_the_fisher_of_the_models_own_predictions(shape: tuple[int, ...]) -> None:
    """Its mean over labels y drawn from p of (p - e_y)(p - e_y)^T."""
    axis = 1 if len(shape) == 4 else -1
    logits = torch.tensor([2.0, 0.0, -1.0, 0.5, -4.0])
    z = logits.expand(*torch.zeros(shape).movedim(axis, -1).shape).movedim(-1, axis).clone()
    v = gradients(KeptOutput(z.requires_grad_(), True))[0].movedim(axis, -1).reshape(-1, 5)
    p = logits.softmax(0)
    labels = torch.eye(5)
    fisher = sum(p[y] * torch.outer(p - labels[y], p - labels[y]) for y in range(5))
    torch.testing.assert_close(v.T @ v / len(v), fisher, atol=0.01, rtol=0.02)


def test_features_have_the_identity_and_padding_has_nothing() -> None:
    z = torch.zeros(400, 3, 4, requires_grad=True)
    mask = torch.ones(400, 3, dtype=torch.int64)
    mask[:, 2] = 0
    v = gradients(KeptOutput(z, False), {"attention_mask": mask}, passes=20)
    live = v[:, :, :2].reshape(-1, 4)
    torch.testing.assert_close(live.T @ live / len(live), torch.eye(4), atol=0.05, rtol=0)
    assert not v[:, :, 2].any()


z, features = torch.zeros(2, 5), torch.zeros(2, 3, 4)


@pytest.mark.parametrize(
    ("output", "kind", "maker", "logits", "tensor"),
    [
        (SimpleNamespace(logits=z), "auto", None, True, z),
        ({"logits": z, "loss": torch.zeros(())}, "auto", None, True, z),
        (SimpleNamespace(logits=z), "features", None, False, z),
        (SimpleNamespace(logits=torch.zeros(2, 1)), "auto", None, False, None),  # a regression
        (SimpleNamespace(last_hidden_state=features, pooler_output=z), "auto", None, False,
         features),
        ({"token_embeddings": features, "sentence_embedding": z}, "auto", None, False, z),
        ((torch.zeros(2, dtype=torch.int64), [z, features]), "auto", None, False, z),
        (z, "auto", "model.lm_head.weight", True, z),
        (z, "auto", "fc2.weight", True, z),
        (z, "auto", ("wte.weight", "lm_head.weight"), True, z),
        (z, "auto", "encoder.0.weight", False, z),
        (z, "auto", "layer.ahead.weight", False, z),
        (z, "logits", None, True, z),
    ],
)  # fmt: skip
def test_the_output_is_found(
    output: object,
    kind: str,
    maker: str | tuple[str, ...] | None,
    logits: bool,
    tensor: torch.Tensor | None,
) -> None:
    target = find_target(output, kind, lambda _: maker)
    assert target.logits is logits
    assert tensor is None or target.tensor is tensor


def test_an_output_without_floats_is_an_error() -> None:
    with pytest.raises(ArgumentError, match=r"a tuple, holds no tensor of floats; give loss"):
        find_target((1, "a"), "auto", lambda _: None)


def test_a_head_with_a_norm_after_it_gives_features() -> None:
    from taut.analysis import collect

    torch.manual_seed(0)
    x = torch.randn(4, 3)
    head = nn.ModuleDict({"head": nn.Linear(3, 3, bias=False)})
    rows = []
    for after in (nn.Identity(), nn.LayerNorm(3)):
        head.forward = lambda x, after=after: after(head["head"](x))  # type: ignore[method-assign]
        rows.append(collect(head, lambda: [x], projections=50)["head.weight"].rows)
    # Softmax has no gradient along (1, 1, 1); neither has the norm, but of another size.
    assert rows[0].trace() < 1 < rows[1].trace()
