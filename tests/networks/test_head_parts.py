"""The head of a chain runs on parts of positions where these are the whole, and else on all."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from taut.networks import head_parts  # noqa: E402
from taut.networks.chain_cutting import find_cutting  # noqa: E402
from taut.networks.find_chain import find_chain  # noqa: E402
from taut.networks.head_parts import find_head_parts  # noqa: E402
from taut.networks.output_vectors import Kind, vectors  # noqa: E402

WIDTH, WORDS, LENGTH = 8, 40, 24


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_parts, "AT_ONCE", 6 * WORDS)


class Network(torch.nn.Module):
    """Words in, and a head that does as told."""

    def __init__(self, head: Any, front: int = 0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = torch.nn.Embedding(WORDS, WIDTH)
        self.before = torch.nn.Linear(WIDTH, WIDTH) if front else torch.nn.Identity()
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(2))
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.out = torch.nn.Linear(WIDTH, WORDS)
        self.head = head

    def forward(self, ids: torch.Tensor, attention_mask: Any = None) -> Any:
        x = self.before(self.words(ids))
        for block in self.blocks:
            x = block(x)
        return self.head(self, x, attention_mask)


def by_position(net: Network, x: torch.Tensor, mask: Any) -> torch.Tensor:
    return net.out(net.norm(x))


def beside_the_mean(net: Network, x: torch.Tensor, mask: Any) -> torch.Tensor:
    return net.out(x - x.mean(1, keepdim=True))


def beside_the_one_before(net: Network, x: torch.Tensor, mask: Any) -> torch.Tensor:
    return net.out(x + torch.nn.functional.pad(x, (0, 0, 1, 0))[:, :-1])


def by_place(net: Network, x: torch.Tensor, mask: Any) -> torch.Tensor:
    return net.out(x + torch.arange(x.shape[1])[:, None])


def of_the_last(net: Network, x: torch.Tensor, mask: Any) -> torch.Tensor:
    return net.out(x[:, -1])


def of_what_is_live(net: Network, x: torch.Tensor, mask: Any) -> torch.Tensor:
    return net.out(x * mask[..., None])


def two(net: Network, x: torch.Tensor, mask: Any) -> dict[str, torch.Tensor]:
    return {"logits": net.out(x), "mean": x.mean(1)}


def ids(samples: int = 1) -> torch.Tensor:
    return torch.randint(0, WORDS, (samples, LENGTH), generator=torch.Generator().manual_seed(1))


def parts_of(net: Network, batch: object, kind: Kind = "logits") -> tuple[Any, Any, Any]:
    chain = find_chain(net.eval(), batch)
    assert chain is not None
    entered = chain.enter(batch)
    hidden = chain.run(1, entered, chain.run(0, entered, entered.hidden)).detach()

    def told(output: object, batch: object, span: Any) -> list[torch.Tensor]:
        return [vectors(output, batch, kind, span)]

    return chain, hidden, find_head_parts(chain, batch, hidden, find_cutting(chain, batch), told)


def all_of(chain: Any, parts: Any, batch: object, hidden: Any) -> list[torch.Tensor]:
    return [
        vectors(chain.leave(one.given, one.of(hidden)), one.given, "logits", one.span)
        for one in parts.of(batch, hidden)
    ]


@pytest.mark.parametrize("samples", [1, 3])
def test_parts_are_the_whole(samples: int) -> None:
    net, batch = Network(by_position), ids(samples)
    chain, hidden, parts = parts_of(net, batch)
    assert (parts.axis, parts.width) == (1, WORDS)
    found = all_of(chain, parts, batch, hidden)
    assert len(found) == 4 * samples  # 24 positions, six at once
    torch.testing.assert_close(torch.cat(found), net(batch).flatten(0, 1))


def test_padding_counts_in_no_part() -> None:
    mask = torch.ones(1, LENGTH, dtype=torch.long)
    mask[:, :10] = 0
    batch = {"ids": ids(), "attention_mask": mask}
    net = Network(by_position)
    chain, hidden, parts = parts_of(net, batch)
    found = all_of(chain, parts, batch, hidden)
    assert [len(one) for one in found] == [0, 2, 6, 6]
    torch.testing.assert_close(torch.cat(found), net(**batch)[0, 10:])


@pytest.mark.parametrize(
    "head", [beside_the_mean, beside_the_one_before, by_place, of_the_last, of_what_is_live]
)
def test_a_head_that_looks_at_other_positions_stays_whole(head: Any) -> None:
    batch = {"ids": ids(), "attention_mask": torch.ones(1, LENGTH)}
    _, hidden, parts = parts_of(Network(head), batch)
    assert parts.axis is None
    (only,) = parts.of(batch, hidden)
    assert only.span is None and only.of(hidden).shape == hidden.shape


def test_every_output_that_counts_must_be_the_whole() -> None:
    batch = ids()
    net = Network(two)
    chain, hidden, parts = parts_of(net, batch)
    assert parts.axis == 1  # the mean does not count here

    def told(output: Any, batch: object, span: Any) -> list[torch.Tensor]:
        return [vectors(output[name], batch, "features", span) for name in ("logits", "mean")]

    assert find_head_parts(chain, batch, hidden, None, told).axis is None


def test_a_front_that_is_work_does_not_run_again_and_again() -> None:
    assert parts_of(Network(by_position, front=1), ids())[2].axis is None


def test_a_small_output_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_parts, "AT_ONCE", LENGTH * WORDS)
    assert parts_of(Network(by_position), ids())[2].axis is None


def test_pixels_are_positions_too() -> None:
    class Painter(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.blocks = torch.nn.ModuleList(torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))
            self.out = torch.nn.Conv2d(4, WORDS, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for block in self.blocks:
                x = block(x)
            return self.out(x)

    batch = torch.randn(1, 4, 12, 10, generator=torch.Generator().manual_seed(0))
    net = Painter()
    chain, hidden, parts = parts_of(net, batch)  # type: ignore[arg-type]
    assert parts.axis == 2
    found = torch.cat(all_of(chain, parts, batch, hidden))
    torch.testing.assert_close(found, vectors(net(batch), batch, "logits"))
