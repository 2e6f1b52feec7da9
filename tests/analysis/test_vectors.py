"""A layer as a linear map: inputs and gradients, position by position, make up torch's gradient."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from taut.analysis import _vectors  # noqa: E402
from taut.analysis._layer_calls import recognise  # noqa: E402

CONVOLUTIONS = [
    ("conv2d", (2, 4, 7, 6), (6, 4, 3, 2), {}),
    ("conv2d", (2, 4, 7, 6), (6, 4, 3, 3), {"stride": (2, 1), "padding": (1, 2)}),
    ("conv2d", (2, 4, 9, 9), (6, 2, 3, 3), {"groups": 2, "dilation": 2, "padding": "same"}),
    ("conv2d", (2, 4, 8, 8), (6, 4, 4, 3), {"padding": "same"}),  # an even kernel pads one side
    ("conv2d", (2, 4, 7, 6), (8, 1, 3, 3), {"groups": 4, "padding": "valid"}),
    ("conv2d", (4, 7, 6), (6, 4, 3, 3), {}),  # one image alone
    ("conv1d", (3, 4, 11), (6, 2, 3), {"groups": 2, "stride": 3, "dilation": 2, "padding": 1}),
    ("conv3d", (2, 2, 5, 4, 6), (3, 2, 2, 3, 1), {"stride": (1, 2, 1), "padding": (0, 1, 0)}),
    ("conv_transpose2d", (2, 4, 5, 4), (4, 3, 3, 2), {}),
    ("conv_transpose2d", (2, 4, 5, 4), (4, 3, 3, 3), {"stride": 2, "output_padding": 1}),
    ("conv_transpose2d", (2, 4, 5, 4), (4, 2, 3, 3), {"groups": 2, "padding": 1, "dilation": 2}),
    ("conv_transpose1d", (2, 4, 5), (4, 3, 4), {"stride": 3, "padding": 2, "output_padding": 2}),
    ("conv_transpose1d", (2, 3, 5), (3, 2, 2), {"dilation": 3, "output_padding": 2}),
]


@pytest.mark.parametrize(("name", "images", "weight", "options"), CONVOLUTIONS)
@pytest.mark.parametrize("block", [1 << 23, 1])
def test_patches_are_laid_out_as_the_weight_is(
    name: str, images: tuple[int, ...], weight: tuple[int, ...], options: dict[str, object],
    block: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(_vectors, "BLOCK", block)
    torch.manual_seed(0)
    function = getattr(functional, name)
    x = torch.randn(images, dtype=torch.float64)
    W = torch.randn(weight, dtype=torch.float64, requires_grad=True)
    y = function(x, W, **options)
    g = torch.randn_like(y)
    (expected,) = torch.autograd.grad(y, W, g)
    call = recognise(function, (x, W), options)
    assert call is not None
    total = 0
    for inputs, slopes in _vectors.vectors_of(call, x, g, inputs=True):
        first, second = (inputs, slopes) if call.swapped else (slopes, inputs)
        groups = options.get("groups", 1)
        a, b = (v.reshape(len(v), groups, -1) for v in (first, second))
        total = total + torch.einsum("ngi,ngj->gij", a, b)
    torch.testing.assert_close(total.reshape(W.shape), expected)


def test_strides_and_padding_are_read_wherever_they_stand() -> None:
    x, W = torch.ones(1, 2, 5, 5), torch.ones(3, 2, 3, 3)
    by_place = recognise(functional.conv2d, (x, W, None, 2, 1, 1, 1), {})
    by_name = recognise(functional.conv2d, (x,), {"weight": W, "padding": 1, "stride": (2, 2)})
    assert by_place is not None and by_name is not None
    assert by_place.geometry == by_name.geometry
