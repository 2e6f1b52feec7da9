"""The subjects: that they are the models they say, and that weights cannot miss them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from bench.subjects.named import subject  # noqa: E402
from bench.subjects.subject import fill  # noqa: E402
from taut.demo.minilm import SentenceEncoder, find_minilm  # noqa: E402
from taut.errors import TautError  # noqa: E402


class Tied(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(4, 3)
        self.head = torch.nn.Linear(3, 4, bias=False)
        self.head.weight = self.words.weight


def test_a_tied_weight_is_filled_under_either_name():
    for name in ("words.weight", "head.weight"):
        network = Tied()
        fill(network, {name: np.full((4, 3), 2, np.float32)})
        assert network.words.weight.eq(2).all() and network.head.weight.eq(2).all()


def test_weights_that_do_not_fit_are_refused():
    weights = {"weight": np.ones((2, 2), np.float32), "wight": np.ones(2, np.float32)}
    with pytest.raises(RuntimeError) as caught:
        fill(torch.nn.Linear(2, 2), weights)
    assert "no ['bias'], unknown ['wight']" in str(caught.value)


@pytest.fixture(scope="module")
def minilm():
    try:
        find_minilm()
        return subject("minilm_linear", thin=10)
    except (TautError, RuntimeError) as error:
        pytest.skip(str(error))


@pytest.mark.slow("runs a real network over its test data")
def test_linear_layers_alone_are_what_the_module_keeps(minilm):
    state = minilm.module().state_dict()
    assert minilm.parameters == sum(v.numel() for v in state.values()) == 10_616_832
    assert state.keys() == minilm.weights.keys() and len(state) == 36
    assert [len(block) for block in minilm.blocks()] == [6] * 6


def test_embeddings_are_those_of_the_demos_encoder(minilm):
    texts = ["A short one.", "A longer one, with some more words in it.", "Ünïcödé 你好"]
    encoder = SentenceEncoder(find_minilm(), texts)
    expected = encoder.embed(encoder.original())
    network = minilm.module()
    for rows, batch in minilm._batches(texts):
        with torch.inference_mode():
            np.testing.assert_allclose(network(**batch), expected[rows], atol=1e-6)


def test_the_encoder_is_calibrated_on_a_thousand_sentences_without_padding(minilm):
    assert sum(len(batch["input_ids"]) for batch in minilm.calibration) == 1024
    assert all(batch["attention_mask"].all() for batch in minilm.calibration)


@pytest.mark.slow("runs a real network over its test data")
def test_rounding_harms_and_the_original_does_not(minilm):
    assert abs(minilm.fidelity(minilm.weights)["loss"]) < 1e-6
    coarse = {name: np.round(v * 20) / 20 for name, v in minilm.weights.items()}
    found = minilm.fidelity(coarse)
    assert all(0.05 < found[kind] < 0.9 for kind in ("loss", "sst2", "wiki"))


@pytest.mark.slow("runs a real network over its test data")
@pytest.mark.parametrize(
    ("name", "key", "least", "most"),
    [("resnet20", "accuracy", 85.0, 90.0), ("gpt2m", "perplexity", 22.0, 27.0)],
)
def test_networks_do_what_their_weights_were_trained_for(name, key, least, most):
    if name == "resnet20":
        pytest.importorskip("PIL")
    try:
        thinned = subject(name, thin=10)
    except RuntimeError as error:
        pytest.skip(str(error))
    found = thinned.fidelity(thinned.weights)
    assert found[thinned.loss] == 0
    assert least < found[key] < most
