"""What a page proposes to do next: where the bytes are, and never what is done already."""

from dataclasses import replace

from taut.reporting.next_steps import next_steps
from taut.reporting.story import Story, TensorCost
from taut.scoring.results import (
    Evaluation,
    Fidelity,
    LayerFidelity,
    Metric,
    Paired,
    Scores,
    Subject,
)


def tensor(name, values, nbytes, error, scheme="rd"):
    return TensorCost(
        f"{name}.weight", (values, 1), scheme, 4 * values, nbytes, 8 * nbytes / values, error
    )


def titles(story):
    return [step.title for step in next_steps(story)]


BIG, SMALL = tensor("big", 80_000, 30_000, 0.01), tensor("small", 8_000, 3_000, 0.02)
LOSSY = Story(size=33_000, original_size=352_000, parameters=88_000, tensors=(BIG, SMALL))


def judged(low, high):
    scores = [Scores((Metric("accuracy", value),), 1000) for value in (0.9, 0.9)]
    near = Fidelity(9, 0.9, 0.1, 1, None, (LayerFidelity("small", "Linear", 0.9, 0.1, 0.05),))
    model, original = (Subject("m", 33_000, 88_000, one) for one in scores)
    return Evaluation(model, original, (Paired("accuracy", 0, low, high),), near)


def test_the_heaviest_block_is_named_with_what_a_bit_saves():
    first, second = next_steps(LOSSY)
    assert first.title == "The bytes are in big"
    assert "saves 10.0 kB, 30.3 % of the file" in first.why
    assert second.title == "Judge it" and second.command.startswith("taut eval")


def test_what_was_left_as_it_was_comes_before():
    kept = tensor("kept", 4_000, 16_000, 0.0, "lossless")
    found = next_steps(replace(LOSSY, size=49_000, tensors=(*LOSSY.tensors, kept)))
    assert found[0].title == "Round kept too"
    assert "32.0 bits a weight (lossless)" in found[0].why and "13." in found[0].why


def test_a_loss_is_mended_first_and_no_loss_asks_for_a_smaller_file():
    lost = titles(replace(LOSSY, evaluation=judged(-0.02, -0.01)))
    assert lost == ["Spend more bits on small", "The bytes are in big"]
    kept = titles(replace(LOSSY, evaluation=judged(-0.001, 0.001)))
    assert kept == ["The bytes are in big", "Look for a smaller file", "Spend more bits on small"]


def test_a_bit_exact_file_is_offered_rounding_and_no_score():
    exact = Story(size=300_000, parameters=88_000, tensors=(tensor("w", 88_000, 300_000, 0.0),))
    (step,) = next_steps(exact)
    assert (step.title, step.command) == ("Round the weights", "taut compress MODEL --bits 4")
    assert "44.0 kB, 6.82× smaller" in step.why
    assert next_steps(Story()) == ()
