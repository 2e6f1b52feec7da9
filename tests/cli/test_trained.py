"""`laconic compress --train`: what reaches the verb, what is said, and what is refused at once.

The verb is a stub here: what it does with all this has tests of its own.
"""

import contextlib
import textwrap

import pytest

import laconic

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

    def keyed(*, rate):
        pass
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

        monkeypatch.setattr(laconic, "compress", compress)
        args = [str(arg).replace("BUILD", str(build)) for arg in args]
        result = None
        with contextlib.suppress(ReachedError):
            result = run("compress", f"{build}:model", *args)
        return found, result

    return invoke


def test_batches_go_with_how_to_train(given):
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
    assert (found["epochs"], found["lr"], found["size"]) == (20, 0.05, "20x")
    (inputs, targets) = found["train"]()[0]
    assert (inputs.shape, targets.shape) == ((4, 64), (4,))
    teacher = found["teacher"]
    assert sum(p.numel() for p in teacher.parameters()) == 65 * 64 + 65 * 32
    assert not teacher.training


@pytest.mark.parametrize("name", ["fit", "lasting"])
def test_a_fit_is_passed_on_as_it_is(given, name):
    found, _ = given("--train", f"BUILD:{name}", "--bits", 1)
    assert found["train"].__name__ == name
    assert not {"epochs", "lr", "teacher"} & found.keys()


def test_without_train_the_verb_hears_nothing_of_it(given):
    found, _ = given("--bits", 3)
    assert not {"train", "epochs", "lr", "teacher"} & found.keys()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--epochs", 3), "--epochs: goes with --train"),
        (("--lr", 0.1), "--lr: goes with --train"),
        (("--teacher", "BUILD:larger"), "--teacher: goes with --train"),
        (("--train", "BUILD:fit", "--epochs", 3), "is a fit(model, loss), which says itself"),
        (("--train", "BUILD:fit", "--lr", 3), "--lr: "),
        (("--train", "BUILD:batches", "--lr", 0), "--lr: 0 cannot be; give a positive number"),
        (("--train", "BUILD:batches", "--lr", "nan"), "--lr: nan cannot be"),
        (("--train", "BUILD:score"), "takes (net); a function that gives batches takes nothing"),
        (("--train", "BUILD:keyed"), "takes (rate); a function that gives batches"),
        (("--train", "BUILD:batchs"), 'has no "batchs"; nearest: batches'),
        (("--train", "data.npz"), "name a function in a file"),
        (("--train", "BUILD:fit", "--teacher", "BUILD:batches"), "it must give an nn.Module"),
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
    assert "'--epochs'" in result.stderr
