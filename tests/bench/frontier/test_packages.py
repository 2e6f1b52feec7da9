"""Peers that are packages of their own: what is asked of them, and what of theirs is counted."""

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.frontier import entropack_peer, hqq_peer  # noqa: E402
from bench.frontier.fixed import pack  # noqa: E402


class Model:
    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.weights = {
            "kernel": rng.standard_normal((6, 2, 3, 3)).astype(np.float32),  # 64 does not divide it
            "matrix": rng.standard_normal((8, 64)).astype(np.float32),
            "bias": rng.standard_normal(8).astype(np.float32),
        }


class Quantizer:
    """As the package's: levels, and value = (level - zero) * scale in groups."""

    @staticmethod
    def quantize(tensor, nbits, group_size, axis, optimize, bitpack, device, compute_dtype):
        assert (axis, optimize, bitpack, device) == (1, True, False, "cpu")
        groups = tensor.reshape(-1, group_size)
        low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
        scale = (high - low) / (2**nbits - 1)
        levels = torch.round((groups - low) / scale)
        return levels, {"scale": scale, "zero": -low / scale}


@pytest.mark.parametrize("bits", [4, 3, 2])
def test_hqq_is_given_groups_that_divide_and_its_levels_are_packed(bits):
    model = Model()
    coded = hqq_peer.code(Quantizer, bits, model)
    for name, values in model.weights.items():
        step = np.ptp(values) / (2**bits - 1)
        assert np.abs(coded.decoded[name] - values).max() < step
    groups = 108 // 4 + 512 // 64
    least = len(pack(np.zeros(108, np.uint8), bits)) + 512 * bits // 8 + 4 * groups + 16
    assert least < coded.nbytes < least + 1000  # the header


def test_of_entropack_what_the_package_holds_is_counted_but_of_what_it_loses():
    asked, model = [], Model()

    def compress(matrix, config):
        asked.append((tuple(matrix.shape), config))
        return SimpleNamespace(entropack_quant_state=torch.zeros(matrix.numel()).byte(), of=matrix)

    def decompress(packed, config):
        small = len(packed.of) == 6  # its tables are more than its share
        return packed.of * (0.5 if small else 0.9)

    package = SimpleNamespace(
        EntroPackLossyConfig=lambda target_bpp: target_bpp, compress=compress, decompress=decompress
    )
    coded = entropack_peer.code(package, 3.0, model)
    assert asked == [((6, 18), 3.0), ((8, 64), 3.0)]
    np.testing.assert_allclose(coded.decoded["kernel"], model.weights["kernel"], rtol=1e-3)
    np.testing.assert_allclose(coded.decoded["matrix"], 0.9 * model.weights["matrix"], rtol=1e-6)
    assert 2 * 108 + 512 + 16 < coded.nbytes < 2 * 108 + 512 + 16 + 1000


def test_a_package_that_is_not_there_is_told():
    for peers, package in ((hqq_peer.peers, "hqq"), (entropack_peer.peers, "entropack")):
        try:
            found = peers()
        except ImportError as error:
            assert package in str(error)
        else:
            assert len(found) == 3
