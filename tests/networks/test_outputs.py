"""Which tensor of an output is kept."""

import pytest

torch = pytest.importorskip("torch")

from taut.networks.output_kind import output_kind  # noqa: E402
from taut.networks.output_vectors import vectors  # noqa: E402
from taut.networks.outputs import find_target  # noqa: E402

LOSS = torch.tensor(1.0)
WORDS = torch.ones(2, 3)


@pytest.mark.parametrize("output", [(LOSS, WORDS), {"loss": LOSS, "z": WORDS}, (LOSS, [WORDS])])
def test_a_loss_beside_it_is_no_output(output: object) -> None:
    """As of a forward that is given the targets too."""
    assert find_target(output, "auto", lambda _: None).tensor is WORDS
    assert find_target((LOSS,), "auto", lambda _: None).tensor is LOSS


@pytest.mark.parametrize(("last", "kind"), [("head", "last"), ("0", "features")])
def test_a_linear_head_has_its_classes_last_in_images(last: str, kind: str) -> None:
    """Whoever compares outputs reads the axes as what was differentiated does."""
    image = torch.randn(2, 2, 3, 3)  # 12 positions: too few to tell by values
    net = torch.nn.Sequential()
    net.add_module(last, torch.nn.Linear(3, 7))
    assert output_kind(net, image) == kind
    found = vectors(net(image), image, output_kind(net, image))
    assert torch.equal(found, net(image).reshape(-1, 7))
    assert vectors(net(image), image, "logits").shape == (2 * 3 * 7, 2)  # classes on axis 1
