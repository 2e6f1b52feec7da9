"""`taut compress --train`: what reaches the verb, what is said, and what is refused at once.

The verb is a stub here: what it does with all this has tests of its own.
"""

import contextlib
import textwrap

import pytest

import taut

BUILD = """
    import torch

    def model():
        torch.manual_seed(0)
        return torch.nn.Linear(64, 32)

    def larger():
        return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 32))

    def batches():
        return [(torch.randn(4, 64), torch.zeros(4, dtype=torch.long))]

    def fit(model, loss):
        pass

    def lasting(model, loss, epochs=3):
        pass

    def score(net):
        return 1.0

    from taut.transform.settings import Training
    from taut.training import Fit

    looped = Fit(batches, Training(epochs=3))
"""


class ReachedError(Exception):
    """The verb was called."""


@pytest.fixture
def build(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "build.py"
    path.write_text(textwrap.dedent(BUILD))
    return path


@pytest.fixture
def given(run, build, monkeypatch):
    """Run the command on the file's model; gives what the verb was given, and what was said."""

    def invoke(*args):
        found = {}

        def compress(src, dst, **options):
            found.update(options)
            raise ReachedError

        monkeypatch.setattr(taut, "compress", compress)
        args = [str(arg).replace("BUILD", str(build)) for arg in args]
        result = None
        with contextlib.suppress(ReachedError):
            result = run("compress", f"{build}:model", *args)
        return found, result

    return invoke


def test_batches_go_with_how_to_train(given, build):
    options = (
        "--train",
        "BUILD:batches",
        "--epochs",
        20,
        "--lr",
        0.05,
        "--teacher",
        "BUILD:larger",
    )
    found, _ = given(*options, "--size", "20x")
    assert found["train"] == f"{build}:batches"
    assert found["teacher"] == f"{build}:larger"
    assert (found["epochs"], found["lr"], found["size"]) == (20, 0.05, "20x")


@pytest.mark.parametrize("name", ["fit", "lasting", "looped"])
def test_a_loop_is_passed_on_as_it_is(given, build, name):
    found, _ = given("--train", f"BUILD:{name}", "--bits", 1)
    assert found["train"] == f"{build}:{name}"
    assert (found["epochs"], found["lr"], found["teacher"]) == (None, None, None)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--epochs", 3), "--epochs: goes with --train"),
        (("--lr", 0.1), "--lr: goes with --train"),
        (("--teacher", "BUILD:larger"), "--teacher: goes with --train"),
        (("--train", "BUILD:fit", "--epochs", 3), "fit says itself how long it trains"),
        (("--train", "BUILD:looped", "--epochs", 3), "--epochs: "),
        (("--train", "BUILD:fit", "--lr", 3), "--lr: "),
        (("--train", "BUILD:score", "--lr", 0.1), "takes 1 arguments"),
        (("--train", "BUILD:batchs", "--lr", 0.1), 'has no "batchs"; nearest: batches'),
        (("--train", "data.npz", "--epochs", 3), "name a function in a file"),
    ],
)
def test_mistakes_are_told_in_a_line_and_exit_2(given, options, told):
    found, result = given(*options, "--size", "20x")
    assert result.exit_code == 2
    assert told in result.stderr.splitlines()[-1]
    assert len(result.stderr.splitlines()) == 1
    assert not found


def test_no_epochs_are_wrong_usage(given):
    _, result = given("--train", "BUILD:batches", "--epochs", 0, "--size", "20x")
    assert result.exit_code == 2
    assert "--epochs" in result.stderr
