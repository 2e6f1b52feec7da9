"""Compression with training: what was asked for is met by the file, and by nothing less."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from tests.thorough import sample

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import taut  # noqa: E402
from taut.errors import ArgumentError, TargetError  # noqa: E402
from taut.training.loop import Fit  # noqa: E402
from taut.transform.settings import Distill, Masking, Training  # noqa: E402


def loaded(path, net):
    """The network of a file, in a module of its class."""
    found = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.fill_(7.0)
    return taut.load(path, into=found).eval()


def snapshot(net):
    state = {n: v.clone() for n, v in net.state_dict().items()}
    flags = [(p.requires_grad, p.grad is None) for p in net.parameters()]
    return state, flags, [part.training for part in net.modules()], list(net.named_modules())


def same(first, second):
    return all(torch.equal(v, second[0][n]) for n, v in first[0].items()) and (
        first[1:3] == second[1:3] and [n for n, _ in first[3]] == [n for n, _ in second[3]]
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def large(batches):
    """Two batches of all: few steps, for what does not depend on their number."""
    half = len(batches) // 2
    return [
        tuple(torch.cat(parts) for parts in zip(*some, strict=True))
        for some in (batches[:half], batches[half:])
    ]


def by_hand(batches, epochs=4):
    """The user's own loop."""

    def fit(model, loss):
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        loss.total = epochs * len(batches)
        model.train()
        for _ in range(epochs):
            for x, y in batches:
                optimizer.zero_grad()
                loss(nn.functional.cross_entropy(model(x), y)).backward()
                optimizer.step()

    return fit


@pytest.mark.parametrize("own", [False, True])
def test_the_size_is_met_on_disk_and_the_score_is_the_files(net, batches, score, tmp_path, own):
    before = snapshot(net)
    train = by_hand(batches) if own else batches
    how = {} if own else {"epochs": 4, "lr": 5e-3}
    result = taut.compress(net, tmp_path / "x", size="5x", train=train, score=score, seed=1, **how)
    size = (tmp_path / "x").stat().st_size
    assert size == result.size <= result.original_size / 5
    assert result.size > 0.8 * result.original_size / 5
    assert score(loaded(tmp_path / "x", net)) == result.score > 0.8
    assert result.original_score == score(net)
    assert names(tmp_path) == ["x"]
    assert same(before, snapshot(net))


def test_the_same_seed_gives_the_same_bytes_at_any_threads(net, batches, tmp_path):
    words = {"size": "5x", "train": batches, "epochs": 2, "seed": 5}
    torch.manual_seed(1)
    taut.compress(net, tmp_path / "a", **words)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    taut.compress(net, tmp_path / "b", threads=2, **words)
    assert torch.equal(torch.get_rng_state(), state)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_drop_that_is_missed_writes_nothing(net, batches, score, tmp_path):
    original = net.hidden.weight.detach().clone()

    def near(module):
        return -float((module.hidden.weight - original).abs().sum())

    words = {"train": large(batches), "epochs": 1, "score": near}
    with pytest.raises(TargetError, match=r"at [\d,]+ bytes the score is .* after training"):
        taut.compress(net, tmp_path / "x", max_drop=0.0, size="4x", **words)
    with pytest.raises(
        TargetError, match=r"max_drop: the score fell below -?0 at every size tried"
    ):
        taut.compress(net, tmp_path / "x", max_drop=0.0, **words)
    with pytest.raises(TargetError, match=r"size: 300 bytes were asked for; training cannot get"):
        taut.compress(net, tmp_path / "x", size=300, **words)
    assert names(tmp_path) == []


PLANS = {
    "ternary": (3, 0.0),
    "binary": (2, 0.0),
    "codebook4": (4, 0.0),
    "int4:g8": (None, 0.0),
    "2:4": (None, 0.5),
    "2:4+int4:g8": (None, 0.5),
    "90%": (None, 0.9),
    "75%+int8": (None, 0.75),
    "50%+binary": (None, 0.5),
    "50%+codebook4": (5, 0.5),
    "50%+fp8": (None, 0.5),
    "fp8": (None, 0.0),
    "fp16": (None, 0.0),
}


@pytest.mark.parametrize("text", sample(list(PLANS), "trains for each scheme", keep=4))
def test_rules_hold_in_the_file(net, batches, score, tmp_path, text):
    plan = {"hidden.weight": text}
    result = taut.compress(
        net, tmp_path / "x", plan=plan, size="2x", train=large(batches), epochs=3, score=score
    )
    found = loaded(tmp_path / "x", net)
    assert score(found) == result.score
    values = found.hidden.weight.detach()
    count, zeros = PLANS[text]
    share = float((values == 0).float().mean())
    assert share == pytest.approx(zeros, abs=1e-3) if zeros else share < 0.75
    if text == "binary":
        assert all(len(row.abs().unique()) == 1 for row in values)
    elif text == "50%+binary":
        assert all(len(row[row != 0].abs().unique()) <= 1 for row in values)
    elif count is not None:
        assert len(values.unique()) == count
    if text.startswith("2:4"):
        assert ((values.reshape(-1, 4) != 0).sum(1) <= 2).all()
    if "int4" in text:
        assert all(len(group.unique()) <= 15 for group in values.reshape(-1, 8))
        step = values.reshape(-1, 8).abs().amax(1, keepdim=True)
        assert (step > 0).any()


def test_rules_reach_norms_and_statistics_too(net, batches, score, tmp_path):
    plan = {"1.weight": "int2", "1.running_mean": "int4", "1.bias": "fp16", "fc.bias": "25%"}
    result = taut.compress(
        net, tmp_path / "x", plan=plan, size="3x", train=large(batches), epochs=2, score=score
    )
    found = loaded(tmp_path / "x", net)
    assert score(found) == result.score
    assert len(found[1].weight.unique()) <= 4
    assert torch.equal(found[1].bias, found[1].bias.half().float())
    assert int((found.fc.bias == 0).sum()) == 1


def test_rules_alone_need_no_size(net, batches, score, tmp_path):
    plan = {"0.weight": "int4", "hidden.weight": "ternary", "fc.weight": "int4"}
    result = taut.compress(net, tmp_path / "x", plan=plan, train=batches, epochs=3, score=score)
    assert score(loaded(tmp_path / "x", net)) == result.score
    with pytest.raises(ArgumentError, match="give bits, size or max_drop"):
        taut.compress(net, tmp_path / "y", train=batches)
    with pytest.raises(ArgumentError, match="give bits, size or max_drop"):
        taut.compress(net, tmp_path / "y", train=batches, plan={"fc.weight": "rd"})


def test_a_mask_of_the_training_is_global_and_one_of_a_rule_its_tensors_own(net, batches, tmp_path):
    training = Training(epochs=4, bits=False, mask=Masking(sparsity=0.8))
    fit = Fit(batches, training)
    taut.compress(net, tmp_path / "x", plan={"fc.weight": "25%+int8"}, size="2x", train=fit)
    found = loaded(tmp_path / "x", net)
    assert float((found.fc.weight == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    rest = torch.cat([found[0].weight.flatten(), found.hidden.weight.flatten()])
    assert float((rest == 0).float().mean()) == pytest.approx(0.8, abs=1e-3)
    assert (found[0].bias != 0).any()


def test_channels_go_and_the_file_loads_into_the_original_class(net, batches, score, tmp_path):
    pytest.importorskip("torch_pruning")
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        "taut: 1\ntarget: {size: 5x}\nrules: []\nsteps:\n"
        "  - channels: {remove: 50%}\n  - train: {epochs: 8, lr: 0.005}\n"
    )
    before = snapshot(net)
    result = taut.compress(net, tmp_path / "x", plan=plan, train=batches, score=score)
    found = loaded(tmp_path / "x", net)
    assert sum(found.hidden.weight.shape) == 48  # of 96
    assert found.fc.in_features == found.hidden.out_features == len(found.hidden.bias)
    assert score(found) == result.score > 0.7
    assert result.size <= result.original_size / 5
    assert result.original_size > 4 * sum(p.numel() for p in net.parameters())
    assert same(before, snapshot(net))


def test_a_teacher_of_another_kind_teaches_and_stays_itself(net, batches, score, tmp_path):
    torch.manual_seed(3)
    wide = nn.Sequential(nn.Linear(20, 100), nn.ReLU(), nn.Dropout(0.5), nn.Linear(100, 4)).train()
    before = snapshot(wide)
    seen = []
    teacher = copy.deepcopy(wide)
    teacher.register_forward_hook(lambda module, given, output: seen.append(module.training))
    inputs = [x for x, _ in batches]
    taut.compress(net, tmp_path / "x", size="3x", train=inputs, epochs=2, teacher=teacher)
    assert same(before, snapshot(teacher))
    assert len(seen) == 12 and not any(seen)
    with pytest.raises(ArgumentError, match="teacher: gives outputs of shape"):
        taut.compress(
            net, tmp_path / "y", size="3x", train=batches, epochs=1, teacher=nn.Linear(20, 5)
        )
    assert names(tmp_path) == ["x"]


@pytest.mark.slow("trains with a teacher and without")
def test_a_teacher_helps_where_labels_lie(net, batches, score, tmp_path):
    wrong = [(x, (y + 1) % 4) for x, y in batches]
    found = {}
    for weight in (0.0, 1.0):
        training = Training(epochs=4, lr=1e-2, distill=Distill(weight=weight))
        found[weight] = taut.compress(
            net, tmp_path / str(weight), size="4x", train=Fit(wrong, training), score=score
        ).score
    assert found[1.0] > found[0.0] + 0.1


BAD_LOOPS = {
    "never": (lambda model, loss: None, "ended without asking for the loss"),
    "raises": (lambda model, loss: 1 / 0, "the loop failed: ZeroDivisionError: division by zero"),
    "vector": (
        lambda model, loss: loss(model(torch.ones(2, 20)).square()),
        "takes the task's loss, a scalar tensor",
    ),
    "number": (lambda model, loss: loss(model(torch.ones(2, 20)).sum().item()), "given a float"),
    "nan": (
        lambda model, loss: loss(model(torch.full((2, 20), float("nan"))).sum()),
        "the loss is nan at step 1",
    ),
    "early": (lambda model, loss: loss(torch.zeros(())), "before the model had run on a batch"),
}


@pytest.mark.parametrize("kind", BAD_LOOPS)
def test_a_loop_that_fails_is_told_and_leaves_nothing(net, tmp_path, kind):
    fit, told = BAD_LOOPS[kind]
    before = snapshot(net)
    with pytest.raises(ArgumentError, match=told):
        taut.compress(net, tmp_path / "x", size="5x", train=fit)
    assert names(tmp_path) == []
    assert same(before, snapshot(net))


@pytest.mark.slow("trains three times")
def test_a_crash_leaves_a_checkpoint_from_which_the_same_file_comes(net, batches, tmp_path):
    words = {"size": "4x", "epochs": 4, "seed": 2}
    whole = taut.compress(net, tmp_path / "a", train=batches, **words)
    epochs = []

    def broken():
        epochs.append(1)
        if len(epochs) == 4:  # the first counts
            raise KeyboardInterrupt
        return batches

    with pytest.raises(KeyboardInterrupt):
        taut.compress(net, tmp_path / "b", train=broken, **words)
    assert names(tmp_path) == ["a", "b.train.npz"]
    with pytest.raises(ArgumentError, match="other training settings"):
        taut.compress(net, tmp_path / "b", train=batches, resume=True, **{**words, "size": "5x"})
    seen = []
    taut.compress(
        net, tmp_path / "b", train=batches, resume=True, **words,
        progress=lambda stage, done, total: stage.startswith("train") and seen.append(done),
    )  # fmt: skip
    assert min(seen) == 2 * len(batches) + 1
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert names(tmp_path) == ["a", "b"] and whole.size


@pytest.mark.slow("trains in stages, twice")
def test_a_drop_alone_is_met_in_stages_which_go_on_from_a_crash(net, batches, score, tmp_path):
    words = {"max_drop": 0.03, "epochs": 2, "lr": 5e-3, "score": score, "train": large(batches)}
    whole = taut.compress(net, tmp_path / "a", **words)
    assert score(loaded(tmp_path / "a", net)) == whole.score >= whole.original_score - 0.03
    assert len(whole.tries) >= 2 and whole.ratio >= 1.45
    stage = []

    def crash(label, done, total):
        stage.append(label)
        if sum(one.startswith("score") for one in stage) == 1 and label.startswith("train"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        taut.compress(net, tmp_path / "b", progress=crash, **words)
    assert names(tmp_path) == ["a", "b.train.npz"]
    again = taut.compress(net, tmp_path / "b", resume=True, **words)
    assert again.tries == whole.tries
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert names(tmp_path) == ["a", "b"]


def test_a_dry_run_writes_nothing(net, batches, tmp_path):
    result = taut.compress(net, tmp_path / "x", size="4x", train=batches, epochs=2, dry_run=True)
    assert result.size <= result.original_size / 4
    assert names(tmp_path) == []


def test_a_dry_run_of_tensors_that_are_sampled_elsewhere(tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Linear(512, 256)  # 512 KiB: an estimate without training looks at half of it
    batches = [(torch.randn(8, 512), torch.randint(256, (8,)))]
    result = taut.compress(net, size="8x", train=batches, epochs=1, dry_run=True, progress=False)
    assert sum(one.bytes for one in result.tensors) <= result.size <= result.original_size / 8
    assert [one.scheme for one in result.tensors if one.name == "weight"] == ["rd"]


def test_what_a_loop_says_itself_cannot_be_said_beside_it(net, batches, tmp_path):
    for train in (Fit(batches, Training(epochs=1)), by_hand(batches)):
        for beside in ({"epochs": 3}, {"lr": 0.1}):
            with pytest.raises(ArgumentError, match=f"{next(iter(beside))}: "):
                taut.compress(net, tmp_path / "x", size="8x", train=train, **beside)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"train": 7}, "an? int is neither a loop"),
        ({"train": lambda model: None}, "takes 1 arguments"),
        ({"train": "build.txt"}, "name a function in a file"),
        ({"train": [], "max_drop": 0.1}, "max_drop: give the score"),
        ({"train": []}, "there are no batches"),
        ({"train": [], "teacher": 5}, "a int is nothing to call"),
        ({"train": [], "plan": {"fc.weight": "rd:3"}}, "training has one dial"),
        ({"train": [], "plan": {"fc.weight": "int4:g7"}}, "nearest that does: 6"),
        ({"train": [], "plan": {"fc.weight": "channels:30%"}}, "a plan with `steps: - channels"),
    ],
)
def test_bad_requests_are_refused_before_the_work(net, tmp_path, words, told):
    with pytest.raises(ArgumentError, match=told):
        taut.compress(net, tmp_path / "x", **{"size": "5x", **words})
    assert names(tmp_path) == []


def test_recurrent_layers_are_written_as_they_were_trained(tmp_path):
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.fc = nn.LSTM(6, 12, batch_first=True), nn.Linear(12, 2)

        def forward(self, x):
            return self.fc(self.lstm(x)[0][:, -1])

    torch.manual_seed(0)
    net = Reader()
    data = [(torch.randn(8, 5, 6), torch.randint(0, 2, (8,))) for _ in range(3)]
    asked = lambda model: -float(sum(model(x).square().sum() for x, _ in data))  # noqa: E731
    result = taut.compress(net, tmp_path / "x", size="3x", train=data, epochs=2, score=asked)
    assert asked(loaded(tmp_path / "x", net)) == result.score
    assert not any("lstm" in note for note in result.notes)


def test_tied_weights_are_one_in_the_file(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.head = nn.Embedding(40, 16), nn.Linear(16, 40, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            return self.head(self.embedding(tokens))

    torch.manual_seed(0)
    net = Tied()
    tokens = torch.arange(40)
    taut.compress(net, tmp_path / "x", bits=10, train=[(tokens, tokens)], epochs=3)
    found = taut.load(tmp_path / "x", into=Tied())
    assert found.head.weight is found.embedding.weight
    assert len(np.unique(found.head.weight.detach().numpy())) > 2


def test_the_file_says_what_its_tensors_are(net, batches, tmp_path):
    taut.compress(
        net, tmp_path / "x", plan={"hidden.weight": "2:4+int4:g8"}, size="3x", train=batches,
        epochs=1,
    )  # fmt: skip
    found = {one.name: one.scheme for one in taut.info(Path(tmp_path / "x")).tensors}
    assert found["hidden.weight"] == "2:4+int4:g8"
    assert json.dumps(found)
