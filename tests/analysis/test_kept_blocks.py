"""A pass that broke off goes on below the blocks that it had finished, to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from tests.analysis.test_streamed import batches_for, network_of

from taut.analysis import Curvature, collect

torch = pytest.importorskip("torch")
pytest.importorskip("transformers", "5")

BLOCKS = 3
EMPTY = np.zeros(0)


class BrokenOffError(Exception):
    """The process ended here."""


@dataclass
class HeldPieces:
    """Pieces in memory; the process ends in the place of a put, after so many."""

    most: int = 1 << 30
    held: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    puts: int = 0

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        return self.held.get(key)

    def put(self, key: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if self.puts == self.most:
            raise BrokenOffError
        self.puts += 1
        self.held[key] = {name: np.array(array) for name, array in arrays.items()}
        return self.held[key]

    def forget(self, prefix: str) -> None:
        self.held = {key: one for key, one in self.held.items() if not key.startswith(prefix)}

    @property
    def blocks(self) -> list[str]:
        return [key for key in self.held if key.startswith("curvature/block/")]


def alike(found: dict[str, Curvature], known: dict[str, Curvature]) -> None:
    assert found.keys() == known.keys()
    for name, one in known.items():
        other = found[name]
        for what in ("kind", "bias", "positions", "samples", "stage", "notes", "swapped"):
            assert getattr(other, what) == getattr(one, what), (name, what)
        for a, b in zip(other.apart(), one.apart(), strict=True):
            np.testing.assert_array_equal(a.rows, b.rows, err_msg=name)
            np.testing.assert_array_equal(a.columns, b.columns, err_msg=name)
        np.testing.assert_array_equal(
            EMPTY if other.mean_input is None else other.mean_input,
            EMPTY if one.mean_input is None else one.mean_input,
        )


@pytest.mark.parametrize("kind", ["llama", "mixtral", "bart", "vit"])
def test_a_pass_goes_on_where_it_broke_off(kind: str) -> None:
    network, batches = network_of(kind), batches_for(kind)
    whole = HeldPieces()
    known = collect(network, lambda: batches, pieces=whole)
    assert whole.puts == 2 * BLOCKS  # gradients and forms
    for most in range(1, 2 * BLOCKS):
        pieces = HeldPieces(most)
        with pytest.raises(BrokenOffError):
            collect(network, lambda: batches, pieces=pieces)
        pieces.most = 1 << 30
        alike(collect(network, lambda: batches, pieces=pieces), known)
        assert pieces.puts == 2 * BLOCKS + most % 2  # gradients without their block come again


def test_finished_blocks_do_not_run_backward_again(monkeypatch: pytest.MonkeyPatch) -> None:
    network, batches = network_of("llama"), batches_for("llama")
    pieces, ran = HeldPieces(), []
    known = collect(network, lambda: batches, pieces=pieces)
    assert len(pieces.blocks) == BLOCKS
    assert not [key for key in pieces.held if key.startswith("curvature/gradients/1")]
    monkeypatch.setattr(
        "taut.analysis._streamed.Streamed._block", lambda _, index: ran.append(index)
    )
    alike(collect(network, lambda: batches, pieces=pieces), known)
    assert ran == []


def test_forms_of_another_network_are_not_taken() -> None:
    network, batches = network_of("llama"), batches_for("llama")
    pieces = HeldPieces()
    collect(network, lambda: batches, pieces=pieces)
    other = network_of("mixtral")
    wanted = collect(other, lambda: batches)
    alike(collect(other, lambda: batches, pieces=pieces), wanted)


class Borrower(torch.nn.Module):
    """Blocks of which the second also uses a weight that is in none."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.lent = torch.nn.Linear(4, 8), torch.nn.Linear(8, 8)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(8, 8) for _ in range(BLOCKS))
        object.__setattr__(self.blocks[1], "lent", self.lent)
        self.blocks[1].forward = lambda x: self.lent(x) + torch.nn.Linear.forward(self.blocks[1], x)  # type: ignore[method-assign]
        self.last = torch.nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for block in self.blocks:
            x = block(x).tanh()
        return self.last(x)


def test_a_weight_that_blocks_borrow_is_seen_all_the_same() -> None:
    torch.manual_seed(0)
    network, batches = Borrower().eval(), [torch.randn(5, 4) for _ in range(2)]
    known = collect(network, lambda: batches)
    assert known["lent.weight"].positions
    pieces = HeldPieces()
    for _ in range(2):
        alike(collect(network, lambda: batches, pieces=pieces), known)
