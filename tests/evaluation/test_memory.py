"""Bytes counted by hand."""

from __future__ import annotations

import pytest

from taut.errors import ArgumentError
from taut.evaluation.memory import measure_memory

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402


def test_parameters_and_buffers_are_counted_by_name() -> None:
    model = nn.Sequential(nn.Linear(10, 5, bias=False), nn.BatchNorm1d(5)).half()
    found = measure_memory(model, None)
    assert found.tensors == {
        "0.weight": 100,
        "1.weight": 10,
        "1.bias": 10,
        "1.running_mean": 10,
        "1.running_var": 10,
        "1.num_batches_tracked": 8,
    }
    assert (found.resident, found.device) == (148, "cpu")
    assert found.peak is None and found.file is None


def test_shared_memory_is_counted_once() -> None:
    tied = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    tied[1].weight = tied[0].weight
    found = measure_memory(tied, None)
    assert found.tensors == {"0.weight": 160} and found.resident == 160

    viewed = nn.Linear(4, 10, bias=False)  # other objects on the same memory
    viewed.register_buffer("again", viewed.weight.detach())
    viewed.register_buffer("top", viewed.weight.detach()[:5])
    found = measure_memory(viewed, None)
    assert found.tensors == {"weight": 160, "top": 80} and found.resident == 160

    part = nn.Module()  # the rest of its memory is held as well
    part.register_buffer("row", torch.zeros(100)[:10])
    found = measure_memory(part, None)
    assert found.tensors == {"row": 40} and found.resident == 400


@pytest.mark.filterwarnings("ignore::UserWarning")  # sparse tensors are a prototype to torch
def test_sparse_tensors_have_their_own_bytes_and_meta_tensors_none() -> None:
    model = nn.Module()
    model.register_buffer("coo", torch.eye(3).to_sparse())
    model.register_buffer("csr", torch.eye(3).to_sparse_csr())
    model.register_buffer("shape", torch.empty(1000, device="meta"))
    assert measure_memory(model, None).tensors == {"coo": 2 * 3 * 8 + 12, "csr": 4 * 8 + 3 * 8 + 12}


@pytest.mark.parametrize("inplace", [False, True])
def test_the_peak_is_what_lives_at_once(inplace: bool) -> None:
    wide = 50 * 1000 * 4
    model = nn.Sequential(nn.Linear(100, 1000), nn.ReLU(inplace), nn.Linear(1000, 10)).train()
    found = measure_memory(model, torch.randn(50, 100))
    # The first layer's output and a second one of its size; or that and the last one's.
    assert found.peak == (wide + 50 * 10 * 4 if inplace else 2 * wide)
    assert model.training and all(p.grad is None for p in model.parameters())


def test_memory_that_was_there_before_is_no_part_of_the_peak() -> None:
    class Lazy(nn.Module):
        """Makes a table when it is first used, and gives up an old one every time."""

        def __init__(self) -> None:
            super().__init__()
            self.table, self.old = None, torch.zeros(5000)

        def forward(self, x: Tensor) -> Tensor:
            self.table = torch.ones(1000) if self.table is None else self.table
            self.old = None
            return x + self.table

    assert measure_memory(Lazy(), torch.ones(1000)).peak == 4000


def test_the_file_is_counted_and_what_is_wrong_is_said(tmp_path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"x" * 123)
    (tmp_path / "b.json").write_text("{}")
    assert measure_memory(nn.Linear(1, 1), None, file=file).file == 123
    assert measure_memory(nn.Linear(1, 1), None, file=tmp_path).file == 125
    with pytest.raises(ArgumentError, match="nowhere"):
        measure_memory(nn.Linear(1, 1), None, file=tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match="memory: the model rejects it: "):
        measure_memory(nn.Linear(3, 1), torch.ones(1, 2))
