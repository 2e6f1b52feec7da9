"""Several processes: they train the same network, and the first alone writes it."""

import os
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import taut  # noqa: E402

SCRIPT = """
    import sys
    import numpy as np
    import torch
    import taut
    from taut.training import run
    from taut.transform.settings import Masking, Training
    from taut.training import Fit

    out, rank = sys.argv[1], sys.argv[2]
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    x = torch.randn(7, 16, 20)
    batches = [(one, one[:, :4].argmax(1)) for one in x]
    final = run.final_state

    def kept(student, *rest):
        values = {twin.name: twin.value().numpy() for twin in student.twins}
        np.savez(f"{out}.rank{rank}.npz", **values)
        return final(student, *rest)

    run.final_state = kept
    seen = []

    def loss(output, target):
        seen.append(float(output.detach().sum()))
        return torch.nn.functional.cross_entropy(output, target)

    mask = Masking(sparsity=0.5, method="obs", regrow=0.1, end=0.7)
    fit = Fit(batches, Training(epochs=3, mask=mask), loss)
    result = taut.compress(net, out, size="3x", train=fit, seed=3)
    print(len(seen), result.size)
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.slow("two processes that load PyTorch and train")
def test_two_processes_end_alike_and_one_writes(tmp_path):
    pytest.importorskip("accelerate", reason="accelerate is not installed: taut[train]")
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    out = tmp_path / "out" / "x"
    out.parent.mkdir()
    world = {
        **os.environ,
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", str(script), str(out), str(rank)],
            env={**world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        ended = [process.communicate(timeout=240) for process in running]
    finally:
        for process in running:
            process.kill()
    for process, (_, said) in zip(running, ended, strict=True):
        assert process.returncode == 0, said[-3000:]
    # seven batches are four for each of two, in three epochs
    assert [said.split()[0] for said, _ in ended] == ["12", "12"]
    first, second = (dict(np.load(f"{out}.rank{rank}.npz")) for rank in range(2))
    assert first.keys() == second.keys() and len(first) == 4
    assert all(np.array_equal(value, second[name]) for name, value in first.items())
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "x",
        "x.rank0.npz",
        "x.rank1.npz",
    ]
    tensors = dict(taut.load(out).tensors())
    for name, value in first.items():
        assert np.array_equal(tensors[name], value)
    assert (tensors["0.weight"] == 0).mean() > 0.3
