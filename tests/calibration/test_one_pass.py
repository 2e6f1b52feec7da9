"""A network of blocks that is rounded once, block after block, and comes out at its size."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import taut
from taut.calibration import chain_judge, index_shelf, start, to_size
from taut.calibration.control import DialControl, RateCurves
from taut.calibration.rounder import Rounder
from taut.journal.journal import journal_folder
from taut.networks import chain_cutting, head_parts
from taut.transform import finish

torch = pytest.importorskip("torch")

WIDTH = 48


class Block(torch.nn.Module):
    """A layer of two matrices beside a shortcut; counts its runs over all networks."""

    runs = 0

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(WIDTH)
        self.up = torch.nn.Linear(WIDTH, 2 * WIDTH)
        self.down = torch.nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        Block.runs += 1
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Stack(torch.nn.Module):
    """Words in, logits out, and blocks in between."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(60, WIDTH)
        self.blocks = torch.nn.ModuleList(Block() for _ in range(depth))
        self.head = torch.nn.Linear(WIDTH, 60, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def stack(depth: int = 4) -> Stack:
    torch.manual_seed(0)
    return Stack(depth).eval()


def words(count: int = 10) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 60, (4, 12), generator=generator) for _ in range(count)]


def far(
    path: Path, net: Stack, batches: list[torch.Tensor], dtype: torch.dtype = torch.float32
) -> float:
    """Nats from the original's predictions to those of what is in a file, both in float32."""
    other = taut.load(path, into=stack(len(net.blocks)).to(dtype)).float()
    with torch.no_grad():
        p, q = (
            torch.cat([one(b).flatten(0, 1).log_softmax(-1) for b in batches])
            for one in (net, other)
        )
    return float((p.exp() * (p - q)).sum(-1).mean())


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    """Every network is large."""
    monkeypatch.setattr(start, "LARGE", 0)


@pytest.mark.parametrize("bits", [3, 5])
def test_the_size_is_met_from_below(tmp_path, bits):
    result = taut.compress(stack(), tmp_path / "x", calib=words(), bits=bits, finish=False)
    assert 0.99 * bits <= result.bits <= bits
    assert any("block after block" in note for note in result.notes)


def test_it_loses_no_more_than_turns_of_the_whole(tmp_path, monkeypatch):
    net, batches = stack(), words()
    taut.compress(net, tmp_path / "one", calib=batches, bits=4, finish=False)
    monkeypatch.setattr(start, "LARGE", 1 << 40)
    taut.compress(net, tmp_path / "turns", calib=batches, bits=4, finish=False)
    assert far(tmp_path / "one", net, batches) < 1.15 * far(tmp_path / "turns", net, batches)


def test_half_precision_runs_block_by_block_in_float32(tmp_path):
    """Weights of bfloat16 and the same ones in float32 are rounded as well, to as many bytes."""
    net, batches = stack(3).bfloat16(), words()
    wide = stack(3)
    wide.load_state_dict(net.state_dict())
    for name, one in (("narrow", net), ("wide", wide)):
        taut.compress(one, tmp_path / name, calib=batches, bits=4, finish=False)
    assert {one.dtype for one in net.parameters()} == {torch.bfloat16}
    lost = far(tmp_path / "narrow", wide, batches, torch.bfloat16)
    assert lost < 1.3 * far(tmp_path / "wide", wide, batches)


@pytest.mark.parametrize("depth", [3, 7])
def test_every_block_runs_twice_for_a_batch(tmp_path, depth):
    begun, ended = 0, 0

    def step(stage: str, done: int, total: int) -> None:
        nonlocal begun, ended
        if stage == "lambda" and done == total:
            begun = Block.runs
        if stage == "sequence" and done == total:
            ended = Block.runs

    batches = words()
    taut.compress(stack(depth), tmp_path / "x", calib=batches, bits=4, finish=False, progress=step)
    assert 0 < ended - begun <= 2 * depth * len(batches)


def test_threads_change_no_byte(tmp_path):
    for threads in (1, 3):
        taut.compress(
            stack(3), tmp_path / str(threads), calib=words(), bits=4, threads=threads, finish=False
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "3").read_bytes()


def test_what_lies_in_files_changes_no_byte(tmp_path, monkeypatch):
    for name, held in (("memory", 1 << 20), ("files", 0)):
        monkeypatch.setattr(index_shelf, "HELD", held)
        taut.compress(stack(3), tmp_path / name, calib=words(), bits=4, scratch=tmp_path)
    assert (tmp_path / "memory").read_bytes() == (tmp_path / "files").read_bytes()
    assert {one.name for one in tmp_path.iterdir()} == {"memory", "files"}


def test_the_callers_network_is_left_as_it_is(tmp_path):
    net = stack()
    before = {name: one.clone() for name, one in net.state_dict().items()}
    taut.compress(net, tmp_path / "x", calib=words(), bits=3, finish=False)
    assert all(torch.equal(before[name], one) for name, one in net.state_dict().items())


class Listener:
    """Notes what it is told of stages and sizes."""

    def __init__(self) -> None:
        self.stages, self.sizes, self.costs = list[str](), list[tuple[int, int | None]](), {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.stages.append(stage)

    def expect(self, costs: dict[str, float]) -> None:
        assert {*self.stages} <= {"open"}
        self.costs = costs

    def weigh(self, nbytes: int, target: int | None) -> None:
        self.sizes.append((nbytes, target))


def test_who_listens_is_told_the_stages_beforehand_and_the_bytes_after_every_block(tmp_path):
    told = Listener()
    taut.compress(stack(3), tmp_path / "x", calib=words(), bits=4, finish=False, progress=told)
    met = [stage for stage in dict.fromkeys(told.stages) if stage in told.costs]
    assert met == [*told.costs] == ["curvature", "lambda", "sequence", "encode", "verify"]
    sizes, targets = zip(*told.sizes, strict=True)
    assert len(sizes) >= 4
    assert sorted(sizes[:4]) == [*sizes[:4]]
    assert {targets[0]} == {*targets}
    assert (tmp_path / "x").stat().st_size in sizes


class Skipping(Stack):
    """Leaves a block out where texts are long."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        for number, block in enumerate(self.blocks):
            x = x if number == 1 and ids.shape[1] > 12 else block(x)
        return self.head(x)


@pytest.mark.parametrize("asked", [{"bits": 3}, {"max_drop": 1e9}])
def test_batches_that_take_several_ways_are_no_chain(tmp_path, asked):
    """Some are found to only when batches set aside are judged."""
    torch.manual_seed(0)
    net = Skipping(3).eval()
    longer = [torch.cat([one, one], 1) for one in words(4)]
    score = {"score": lambda _: 0.0} if "max_drop" in asked else {}
    result = taut.compress(
        net, tmp_path / "x", calib=[*words(6), *longer], finish=False, **asked, **score
    )
    assert result.bits <= 3.01
    assert not any("each on what the compressed" in note for note in result.notes)


class PowerCut(BaseException):
    """Nothing that anybody handles."""


def test_a_run_that_broke_off_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    net, batches, rounded = stack(), words(), list[str]()
    taut.compress(net, tmp_path / "whole", calib=batches, bits=4, finish=False)

    def cut(stage: str, done: int, total: int) -> None:
        if stage == "sequence" and done == 3:
            raise PowerCut

    with pytest.raises(PowerCut):
        taut.compress(net, tmp_path / "x", calib=batches, bits=4, finish=False, progress=cut)
    assert journal_folder(tmp_path / "x").is_dir()
    whole = Rounder._round

    def counting(self, name, *rest):
        rounded.append(name)
        return whole(self, name, *rest)

    monkeypatch.setattr(Rounder, "_round", counting)
    result = taut.compress(net, tmp_path / "x", calib=batches, bits=4, finish=False, resume=True)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "whole").read_bytes()
    assert {name.split(".")[1] for name in rounded} == {"2", "3"}  # the blocks that were left
    assert not any("nothing was kept" in note for note in result.notes)


@pytest.mark.parametrize("losses", [(1.0, 1.0), (1.0, 1.1)])
def test_what_finishing_tuned_is_written_where_it_serves(tmp_path, monkeypatch, losses):
    tune, found = finish.finish, list[finish.Finished]()

    def noting(*given, **words):
        found.append(tune(*given, **words | {"steps": 25}))
        return found[-1]

    monkeypatch.setattr(finish, "finish", noting)
    told = iter(losses)  # untuned, and tuned with room made for it
    monkeypatch.setattr(to_size, "held_loss", lambda *_: next(told))
    net = stack(2)
    result = taut.compress(net, tmp_path / "x", calib=words(20), bits=2.45)
    assert found[0].after < 0.97 * found[0].before
    arrays, served = dict(taut.load(tmp_path / "x")), losses[1] <= losses[0]
    same = [np.array_equal(arrays[name], tuned) for name, tuned in found[0].values.items()]
    assert all(same) if served else not any(same)
    assert (to_size.LEFT_OUT in result.notes) is not served
    assert 0.99 * 2.45 <= result.bits <= 2.45  # the last block has made room for them


def test_resume_where_nothing_was_kept_says_so(tmp_path):
    result = taut.compress(
        stack(2), tmp_path / "x", calib=words(), bits=4, finish=False, resume=True
    )
    assert any("nothing was kept" in note for note in result.notes)


KILLED = """
import os, signal, sys
sys.path[:0] = sys.argv[3].split(os.pathsep)
from tests.calibration.test_one_pass import stack, words
import taut
from taut.calibration import start

start.LARGE = 0

def step(stage, done, total):
    if (stage, done) == ("sequence", 3):
        os.kill(os.getpid(), signal.SIGKILL)

taut.compress(stack(), sys.argv[1], calib=words(), bits=4, finish=False, progress=step)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no killing here")
@pytest.mark.slow("a process that loads PyTorch")
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path):
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "x"), "", path]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    taut.compress(stack(), tmp_path / "x", calib=words(), bits=4, finish=False, resume=True)
    taut.compress(stack(), tmp_path / "whole", calib=words(), bits=4, finish=False)
    assert (tmp_path / "x").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_score_takes_three_passes_at_most(tmp_path):
    net, batches, seen = stack(3), words(), list[int]()

    def near(module: torch.nn.Module) -> float:
        with torch.no_grad():
            return -sum(float((module(b) - net(b)).square().mean()) for b in batches)

    def step(stage: str, done: int, total: int) -> None:
        if stage == "sequence" and done == total:
            seen.append(done)

    allowed = 0.02 * sum(float(net(b).detach().square().mean()) for b in batches)
    result = taut.compress(
        net,
        tmp_path / "x",
        calib=batches,
        max_drop=allowed,
        score=near,
        finish=False,
        progress=step,
    )
    assert result.score >= -allowed
    assert any("block after block" in note for note in result.notes)
    assert 1 <= len(seen) <= 4  # the last is read from the journal, where it is not the best


@pytest.mark.parametrize("in_parts", [False, True])
def test_gradients_are_those_of_the_whole_network(monkeypatch, in_parts):
    """A network that wears what it has already has the gradients of any, also in many parts."""
    if in_parts:
        for name in ("VALUES", "POSITIONS"):
            monkeypatch.setattr(chain_cutting, name, 1)
        monkeypatch.setattr(head_parts, "AT_ONCE", 5 * 60)
    net, batch = stack(3), words(1)[0]
    judge, tuned, last = judge_of(net, batch, "logits")
    found = judge.slope(0, [*tuned.values()])
    p, q = (net.head(one).log_softmax(-1) for one in (last, hidden_of(net, batch)))
    loss = (p.exp() * (p - q)).sum()
    wanted = torch.autograd.grad(loss, [*tuned.values()])
    for one, other in zip(found.gradients, wanted, strict=True):
        torch.testing.assert_close(one, other)
    total, count = judge.total(0)
    assert count == batch.numel() and not total.requires_grad
    assert [found.total, float(total)] == pytest.approx([float(loss.detach())] * 2, rel=1e-4)
    parts = [part for piece in judge._pieces[0] for part, _ in judge._headed(0, piece)]
    assert len(parts) == (4 * 3 if in_parts else 1)  # of four samples of 12 positions


def test_outputs_beside_the_main_one_count_as_much_in_parts(monkeypatch):
    batch = words(1)[0]

    def loss(**patched):
        for name, value in patched.items():
            monkeypatch.setattr(chain_cutting if name != "AT_ONCE" else head_parts, name, value)
        judge, tuned, _ = judge_of(Two(), batch, "logits", {"1": "features"})
        return judge.total(0)[0], judge.slope(0, [*tuned.values()])

    whole, slope = loss()
    parts, other = loss(VALUES=1, POSITIONS=1, AT_ONCE=300)
    torch.testing.assert_close(parts, whole)
    for one, two in zip(other.gradients, slope.gradients, strict=True):
        torch.testing.assert_close(one, two)


class Two(Stack):
    """Beside logits a mean of each sample: of it there are fewer vectors."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(3)

    def forward(self, ids):
        logits = super().forward(ids)
        return logits, logits[:, :, :5].mean(1)


def hidden_of(net, batch):
    x = net.words(batch)
    for block in net.blocks:
        x = block(x)
    return x


def judge_of(net, batch, kind, beside=None):
    """A judge of a network that wears its own values, beside an original that gives others."""
    from taut.calibration.compressed_chain import CompressedChain
    from taut.networks.chain_cutting import find_cutting
    from taut.networks.find_chain import find_chain

    chain = find_chain(net, batch)
    cutting = find_cutting(chain, batch)

    class Worn(CompressedChain):
        def __init__(self) -> None:
            self.chain, self.cutting, self.biases, self._worn = chain, cutting, {}, []
            self._device = None

        def block(self, index):
            return torch.enable_grad() if torch.is_grad_enabled() else torch.no_grad()

    tuned = {f"blocks.{i}.norm.weight": net.blocks[i].norm.weight for i in range(3)}
    held = SimpleNamespace(kind=kind, beside=beside or {}, shares={})
    judge = chain_judge.ChainJudge(held, Worn(), [batch], [0], tuned)
    last = torch.randn(*batch.shape, WIDTH, generator=torch.Generator().manual_seed(2))
    begin = 0
    for piece in judge._pieces_of(0):
        judge._last[piece.last] = last[begin : begin + len(piece.given)]
        begin += len(piece.given)
    return judge, tuned, last


def flat(dial: float) -> dict[str, float]:
    return {"a": 1000 * (2 - np.log2(dial)), "b": 1000 * (2 - np.log2(dial))}


def control(room: float) -> DialControl:
    return DialControl(RateCurves(flat), {"a": 8000, "b": 8000}, room=room, first=1.0)


def test_the_dial_fills_the_room():
    assert control(4000).dial == pytest.approx(1, abs=1e-3)
    assert control(6000).dial == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("took", [1900.0, 2100.0])
def test_what_was_taken_turns_the_dial_for_what_is_left(took):
    one = control(4000)
    one.took(["a"], took, last=True)
    assert (one.dial < 1) == (took < 2000)
    left = flat(one.dial)["b"] * took / 2000  # what is left is off as what came before
    assert took + left == pytest.approx(4000, rel=0.03)


def test_the_last_block_is_turned_by_what_it_took():
    one = control(4000)
    one.took(["a"], 2000.0, last=True)
    assert one.again(["b"], 2050.0, 2000.0) > one.dial * 0.999
    assert one.dial > 1
