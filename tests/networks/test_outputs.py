"""Which tensor of an output is kept."""

import pytest

torch = pytest.importorskip("torch")

from taut.networks.outputs import find_target  # noqa: E402

LOSS = torch.tensor(1.0)
WORDS = torch.ones(2, 3)


@pytest.mark.parametrize("output", [(LOSS, WORDS), {"loss": LOSS, "z": WORDS}, (LOSS, [WORDS])])
def test_a_loss_beside_it_is_no_output(output: object) -> None:
    """As of a forward that is given the targets too."""
    assert find_target(output, "auto", lambda _: None).tensor is WORDS
    assert find_target((LOSS,), "auto", lambda _: None).tensor is LOSS
